"""The pages for a paper and its committee, from records: methods, checklists, the artifact's
appendix. What no record says is said to be unknown.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.audit.ai_act import ai_act_note, compute_share
from mindtune.audit.claims import claims, claims_table, read_table
from mindtune.audit.references import bibtex
from mindtune.audit.starts import in_order
from mindtune.cli import UserError
from mindtune.config import run_settings
from mindtune.mixture import folder_of, sets_of
from mindtune.variants import variants

Records = Mapping[str, Mapping[str, Any]]
UNKNOWN = "(not recorded)"
PAGES = ("README.md", "methods.md", "checklist.md")


def latest_start(records: Records) -> dict[str, Any]:
    """The record of the last start: configuration, code, machine."""
    names = in_order(records)
    if not names:
        raise UserError(
            "results/starts holds no record of a start, so nobody knows the configuration; run "
            "the workflow once in this folder (with nothing to do it needs --force of one file)"
        )
    return dict(records[names[-1]])


def known(value: Any) -> Any:
    """A value for a page; UNKNOWN where there is none."""
    return UNKNOWN if value in (None, "", [], {}) else value


def filled(part: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A part of a record in which what is not there is None."""
    return {**dict.fromkeys(names), **part}


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))


def facts_at(records: Records, path: str) -> dict[str, Any]:
    """The facts of a record; none if it is not there."""
    return dict(records[path]["facts"]) if path in records else {}


def of_set(records: Records, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the pages say of a data set."""
    place = f"results/data/{name}"
    return {
        "name": name,
        "spec": config["datasets"][name],
        "clean": facts_at(records, f"{place}/clean_dialogues.json"),
        "split": facts_at(records, f"{place}/split_dialogues.json"),
    }


def facts_of(records: Records, run: str) -> dict[str, Any]:
    """What the pages say, by name; a part that has no record is an empty mapping."""
    start = latest_start(records)
    config = start["params"]
    if run not in config["runs"]:
        raise UserError(
            f"RUN is {run!r}, which is not among runs ({', '.join(sorted(config['runs']))}); name "
            f"one of them"
        )

    table = read_table(Path("results/tables/evaluation.csv"))
    place = f"results/runs/{run}"
    merged = facts_at(records, f"{place}/merge_adapter.json")
    train = records.get(f"{place}/train_lora.json")
    packages = {name: v for record in records.values() for name, v in record["env"].items()}
    seeds = variants(config)
    alike = [name for name in seeds if seeds[name]["variant"] == seeds[run]["variant"]]
    return {
        "run": run, "config": config,
        "sets": [of_set(records, config, name) for name in sets_of(config["runs"][run])],
        "mixed": facts_at(
            records, f"results/data/{folder_of(config['runs'][run])}/mix_datasets.json"
        ),
        "packed": facts_at(records, f"{place}/pack_stats.json"),
        "start": filled(start["facts"], "commit", "uncommitted_sha256"),
        "host": filled(start["facts"]["host"], "system", "processor", "cores", "memory", "gpus"),
        "model": config["model"],
        "settings": run_settings(config, run), "packages": dict(sorted(packages.items())),
        "seeds": sorted({seeds[name]["seed"] for name in alike}),
        "train": filled(train["facts"], "gpu_hours", "kilowatt_hours") if train else {},
        "merged": filled(merged, "parameters") if merged else {},
        "export": facts_at(records, "results/export.json"),
        "gates": facts_at(records, "results/gates.json"),
        "suites": sorted({row["suite"] for row in table}),
        "metrics": sorted({row["metric"] for row in table}),
        "claims": claims(records, table, run, config),
        "compute": compute_share(config["model"], train, merged.get("parameters")) if train else {},
        "archives": sorted(path.name for path in Path("results/archive").glob("*.zip")),
    }  # fmt: skip


def pages(records: Records, run: str) -> dict[str, str]:
    """{file name: text} of the artifact's pages."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    facts = facts_of(records, run)
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
        autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    templates.filters |= {"known": known, "listed": listed}
    table = claims_table(facts["claims"])
    found = {
        name: templates.get_template(f"paper_{name}.j2").render(
            **facts, claims_table=table, unknown=UNKNOWN
        )
        for name in PAGES
    }
    compute = json.dumps(facts["compute"], indent=2, sort_keys=True, ensure_ascii=False)
    return found | {
        "claims.md": f"# Claims\n\n{table}",
        "references.bib": bibtex(facts["config"], records, set(facts["metrics"])),
        "ai_act.json": f"{compute}\n",
        "ai_act.md": ai_act_note(facts["compute"]) if facts["compute"] else "",
    }
