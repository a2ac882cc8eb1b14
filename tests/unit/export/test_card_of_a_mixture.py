"""The card of a model trained on several data sets names each, with its licence and share."""

from mindtune.export.model_card import model_card

MODEL = {"source": "local", "path": "/models/qwen", "id": None, "revision": None, "licence": "mit"}
LOGITS = {
    "max_rms_in_deviations": 0.05,
    "max_difference_in_deviations": 0.1,
    "argmax_agreement": 0.99,
    "positions": 2048,
    "decisive_positions": 1500,
}
PROOF = {
    "tensors": {"changed": {"exact": 196}, "other": {"equal": 143}},
    "logits": LOGITS,
    "prompts": [1],
}


def record(stage, place, facts, **params):
    """A stage's record as the card reads it."""
    return {
        "stage": stage,
        "params": params,
        "facts": facts,
        "env": {"ms-swift": "4.6.0"},
        "inputs": {},
        "outputs": {place: "ef" * 32},
    }


def records():
    """Those of a run on a and b."""
    sides = {"dialogues": {"train": 30, "dev": 2, "test": 3}}
    found = [record("mix_datasets", "results/data/a+b/train.jsonl", sides | {
        "datasets": {name: {"dialogues": {"train": 15, "dev": 1, "test": 1}} for name in "ab"},
        "left_out": {"leak": 4, "near_duplicate": 5},
    })]  # fmt: skip
    for name, hub in (("b", "huggingface"), ("a", "modelscope")):
        place = f"results/data/{name}"
        cleaned = {"read": 20, "kept": 18, "rejected": 2, "rejected_by_reason": {"refusal": 2}}
        found += [
            record("fetch_dataset", f"{place}/raw", {}, source=hub, id=f"x/{name}", revision="1"),
            record("clean_dialogues", f"{place}/clean.jsonl", cleaned),
            record("split_dialogues", f"{place}/train.jsonl", {"dialogues": {"train": 1}}),
        ]
    by_dataset = {name: {"rows": 12, "trained_share": 0.5} for name in "ab"}
    packing = {"tokens": 900, "trained_tokens": 400, "by_dataset": by_dataset}
    return [
        *found,
        record("pack_stats", "p", packing),
        record("train_lora", "t", {"steps": 3}, method="lora", lora={"rank": 8}),
        record("merge_adapter", "m", {"shards": {"model.safetensors": 5}}, dtype="bfloat16"),
        record("verify_merge", "v", PROOF),
    ]


def test_every_data_set_stands_in_the_card_with_its_licence_and_share():
    licences = {"a": "cc-by-4.0", "b": "Apache-2.0"}
    card = model_card({"model": MODEL, "data_licence": licences}, records())
    assert 'datasets: ["x/a", "x/b"]' in card
    assert "x/a (modelscope, revision 1); licence: cc-by-4.0." in card
    assert "x/b (huggingface, revision 1); licence: Apache-2.0." in card
    assert card.count("20 dialogues read, 18 kept, 2 rejected (refusal 2)") == 2
    assert "a 15 training dialogues, of which 12 are trained on in an epoch, 50 %" in card
    assert "5 copies and 4 dialogues" in card
    assert "30 train, 2 dev, 3 test" in card
