"""What the model card says, and does not."""

import re

import yaml
from proven_run import ROOT


def test_card_has_front_matter_and_warnings(exported):
    card = (exported / "export" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["base_model"] == "Qwen/Qwen2.5-7B-Instruct"
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "transformers"
    assert head["language"] == ["zh", "en"]
    assert "datasets" not in head  # a local source has no page to link
    for words in (
        "This is a toy",
        "Not a clinician",
        "不能代替专业诊断",
        "1,200 dialogues read, 1,150 kept, 50 rejected (over_long 50)",
    ):
        assert words in card
    assert "| learning_rate | 0.0002 |" in card
    assert "| lora target_modules | q_proj k_proj" in card
    assert "first dev loss" not in card
    assert "empty 0" not in card


def test_card_s_hotlines_are_verified_ones(exported):
    card = (exported / "export" / "README.md").read_text(encoding="utf-8")
    crisis = card.split("## In a crisis")[1].split("\n## ")[0]
    lines = yaml.safe_load((ROOT / "config" / "hotlines.yaml").read_text(encoding="utf-8"))[
        "hotlines"
    ]
    verified = {line["number"] for line in lines if line["status"] == "verified"}
    numbers = set(re.findall(r"\*\*(\d+)\*\*", crisis))
    assert numbers == {"12356", "110", "120"}
    assert numbers <= verified


def record(stage: str, facts: dict, **params: object) -> dict:
    env = {"ms-swift": "4.6.0"}
    return {"stage": stage, "params": params, "facts": facts, "env": env}


def card_of(
    model: dict, data_licence: str = "CC0-1.0", method: str = "lora", cost: dict | None = None
) -> str:
    """A card by the records of a training that nobody ran."""
    from mindtune.export.model_card import model_card

    logits = {
        "max_rms_in_deviations": 0.05,
        "max_difference_in_deviations": 0.1,
        "argmax_agreement": 0.9951,
        "positions": 2048,
        "decisive_positions": 1500,
    }
    proof = {
        "tensors": {"changed": {"exact": 196}, "other": {"equal": 143}},
        "logits": logits,
        "prompts": [1, 2, 3],
    }
    source = {"source": "modelscope", "id": "CodyWhy/mh-sharegpt-20250820", "revision": "abc"}
    cleaned = {"read": 10, "kept": 10, "rejected": 0, "rejected_by_reason": {"empty": 0}}
    records = [
        record("fetch_dataset", {}, **source, licence=None),
        record("clean_dialogues", cleaned),
        record("split_dialogues", {"dialogues": {"train": 8, "dev": 1, "test": 1}}),
        record("train_lora", {"steps": 3}, method=method, lora={"rank": 8}),
        record("merge_adapter", {"shards": {"model.safetensors": 5}}, dtype="bfloat16"),
        record("verify_merge", proof),
    ]
    for each in records:
        each |= {"inputs": {}, "outputs": {f"results/data/mh/{each['stage']}": "ef" * 32}}
    return model_card({"model": model, "data_licence": {"mh": data_licence}}, records, cost=cost)


LOCAL = {"source": "local", "path": "/models/qwen", "id": None, "revision": None, "licence": None}


def test_card_of_a_hub_dataset():
    card = card_of(LOCAL)
    head = yaml.safe_load(card.split("---")[1])
    assert head["datasets"] == ["CodyWhy/mh-sharegpt-20250820"]
    assert head["license"] == "unknown"
    assert "base_model" not in head
    assert "toy" not in card
    assert "fine-tuned from qwen" in card
    assert "Not part of this card, which is written without waiting for the evaluation" in card
    assert "at each of 2,048 positions, by a root mean square of at most 0.05" in card
    assert "the same token at 99.5 % of them, and at all 1,500 that are no near-ties" in card
    assert "LoRA, merged into the base" in card and "equal base + adapter" in card
    assert "| lora rank | 8 |" in card


def test_card_of_a_model_that_was_trained_as_a_whole():
    whole = card_of(LOCAL, method="full")
    assert "All weights trained" in whole and "equal the trained weights" in whole
    assert "lora" not in whole.lower()


def test_a_training_on_a_card_says_its_speed_with_and_without_compiling_and_its_cost():
    from mindtune.export.model_card import training_cost

    measured = {
        "tokens_per_second": 12285.4, "tokens_per_second_after_the_first_step": 15329.2,
        "gpu_hours": 0.5, "kilowatt_hours": 0.011111,
    }  # fmt: skip
    train = {"stage": "train_lora", "facts": {"steps": 3} | measured}
    assert training_cost([{"stage": "other"}, train], None) == measured
    cost = training_cost([train], 3.0)
    assert cost == measured | {"dollars_per_gpu_hour": 3.0, "dollars": 1.5}
    card = card_of(LOCAL, cost=cost)
    for row in (
        "tokens per second | 12,285", "tokens per second after the first step | 15,329",
        "gpu hours | 0.5", "kilowatt hours | 0.011111", "dollars per gpu hour | 3", "dollars | 1.5",
    ):  # fmt: skip
        assert f"| {row} |" in card
    assert training_cost([{"stage": "train_lora", "facts": {"steps": 3}}], 3.0) == {}, "on a CPU"
    assert "dollars" not in card_of(LOCAL)


def test_no_licence_and_no_name_adds_a_heading_to_the_card():
    licence = "x\n\n## In a crisis: call 900-1\n\n<svg onload=alert(1)>"
    model = LOCAL | {"licence": "y\r\n# Call <b>900-2</b>", "path": "/models/*q* | w\u2028## z"}
    whole, forged = card_of(LOCAL), card_of(model, licence)
    named = whole.replace("qwen", "\\*q\\* \\| w ## z")
    headings, wanted = (
        [line for line in card.splitlines() if line.startswith("#")] for card in (forged, named)
    )
    assert headings == wanted
    assert "\\<svg onload=alert(1)\\>" in forged and "# Call \\<b\\>" in forged
