"""The model card of an export: README.md with the front matter of the Hugging Face hub, written
from stage records alone.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.markdown import Marked, templates
from mindtune.sources import HUBS, source_name

TEMPLATE = Path(__file__).with_name("model_card.md.j2")
METHODS = {
    "lora": "LoRA, merged into the base",
    "dora": "DoRA (LoRA that also trains the length of each row), merged into the base",
    "qlora": "QLoRA: LoRA beside a base in 4 bits (NF4), merged into the base as published, so it "
    "answers a little differently than in training",
    "full": "All weights trained",
}
MEASURED = (
    "tokens_per_second",
    "tokens_per_second_after_the_first_step",
    "gpu_hours",
    "kilowatt_hours",
)
IN_FP8 = (
    "; trained beside a base in 8 bits (FP8) and merged into the base as published, so it answers "
    "a little differently than in training"
)
NEEDED = ("clean_dialogues", "split_dialogues", "train_lora", "merge_adapter", "verify_merge")


def front_matter(
    model: Mapping[str, Any], datasets: Sequence[Mapping[str, Any]], method: str
) -> str:
    """The YAML block that hubs read. Values are written as JSON, which YAML includes."""
    fields: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": ["zh", "en"],
    }
    fields["license"] = str(model.get("licence") or "unknown").lower()
    if model["source"] in HUBS:
        fields |= {"base_model": model["id"], "base_model_relation": "finetune"}
    if named := [spec["id"] for spec in datasets if spec.get("source") in HUBS]:
        fields["datasets"] = named
    fields["tags"] = ["mental-health", "counselling", method, "sft", "ms-swift", "mindtune"]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def of_data_sets(
    records: Sequence[Mapping[str, Any]], stage: str, part: str
) -> dict[str, Mapping[str, Any]]:
    """{data set: a part of its record} of the records of a stage, by name."""
    found = [record for record in records if record["stage"] == stage]
    names = [Path(min(record["outputs"])).parent.name for record in found]
    return dict(sorted(zip(names, (record[part] for record in found), strict=True)))


def data_rows(
    records: Sequence[Mapping[str, Any]], licences: Mapping[str, str]
) -> list[dict[str, Any]]:
    """{"source", "licence", "clean"} of each data set, by name."""
    fetched = of_data_sets(records, "fetch_dataset", "params")
    return [
        {
            "source": source_name(fetched[name]) if name in fetched else "unknown",
            "licence": licences[name],
            "clean": facts,
        }
        for name, facts in of_data_sets(records, "clean_dialogues", "facts").items()
    ]


def gates_of(records: Mapping[str, Mapping[str, Any]], run: str) -> dict[str, Any] | None:
    """{"verdict", "sentences"} of a run by its gates; None where no gate was decided."""
    if "decide_gates" not in records:
        return None
    facts = records["decide_gates"]["facts"]
    if run not in facts["verdicts"]:
        raise UserError(
            f"--gates: run {run!r} is not among those judged ({', '.join(facts['verdicts'])}); "
            f"decide the gates again"
        )
    sentences = [row["sentence"] for row in facts["gates"] if row["run"] == run]
    return {"verdict": facts["verdicts"][run], "sentences": sentences}


def training_cost(
    records: Iterable[Mapping[str, Any]], dollars_per_gpu_hour: float | None
) -> dict[str, float]:
    """Speed and energy of a training's steps by its record, and dollars by the price of a GPU's
    hour; what was not measured (on a CPU nothing is) or not said is left out.
    """
    trained = next((row["facts"] for row in records if row["stage"] == "train_lora"), {})
    found = {key: trained[key] for key in MEASURED if trained.get(key) is not None}
    if dollars_per_gpu_hour is not None and "gpu_hours" in found:
        found["dollars_per_gpu_hour"] = dollars_per_gpu_hour
        found["dollars"] = found["gpu_hours"] * dollars_per_gpu_hour
    return found


def model_card(
    settings: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    run: str = "",
    cost: Mapping[str, float] | None = None,
) -> str:
    """Render the card of the config's model section and each data set's licence by its name. `run`
    is whose verdict it shows if the gates' record is there; one that it lacks is a UserError.
    """
    model = settings["model"]
    by_stage = {record["stage"]: record for record in records}
    if missing := [stage for stage in NEEDED if stage not in by_stage]:
        raise UserError(
            f"--records: that of {missing[0]} is not among them; the model card is written from it"
        )
    fetched = of_data_sets(records, "fetch_dataset", "params")
    trained = by_stage["train_lora"]["params"]
    method = trained["method"]
    environment = templates(trim_blocks=True, lstrip_blocks=True)
    environment.filters["short"] = lambda value: f"{value:.3g}"
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        front_matter=Marked(front_matter(model, list(fetched.values()), method)),
        name=model.get("id") or Path(model["path"]).name,
        licences={"base": model.get("licence") or "unknown"},
        base=source_name(model),
        data=data_rows(records, settings["data_licence"]),
        toy=by_stage.get("fetch_model", {}).get("params", {}).get("toy", False),
        split=(by_stage.get("mix_datasets") or by_stage["split_dialogues"])["facts"],
        packing=by_stage.get("pack_stats", {}).get("facts"),
        training=trained,
        trained=by_stage["train_lora"]["facts"],
        cost=cost or {},
        packages=by_stage["train_lora"]["env"],
        method=METHODS[method] + IN_FP8 * (trained.get("base_precision") == "fp8"),
        trained_as="the trained weights" if method == "full" else "base + adapter",
        template=by_stage.get("fetch_model", {}).get("facts", {}).get("template"),
        merge=by_stage["merge_adapter"],
        proof=by_stage["verify_merge"]["facts"],
        gates=gates_of(by_stage, run),
    )
