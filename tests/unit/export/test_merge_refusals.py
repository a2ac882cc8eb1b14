"""What is not merged: adapters, bases and tokenizers that do not belong together."""

import json

import pytest
from merged import FIRST, copy, edit_adapter, edit_json, merge_into
from mindtune.cli import UserError
from proven_run import (
    MERGE,
    run_program,
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern is"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern is"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is"),
        ({"bias": "lora_only"}, "bias is 'lora_only'"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is True"),
        ({"init_lora_weights": "pissa"}, "changes the base's weights"),
        ({"peft_type": "LOHA"}, "only LORA can be merged"),
        ({"a_variant_of_next_year": {"x": 1}}, "a_variant_of_next_year is"),
        ({"r": 8}, "adapter_config.json says r 8"),
    ],
)
def test_an_adapter_that_is_not_plain_lora_is_refused(run_folder, tmp_path, changes, message):
    adapter = copy(run_folder / "adapter", tmp_path / "adapter")
    edit_json(adapter / "adapter_config.json", **changes)
    with pytest.raises(UserError, match=message):
        merge_into(run_folder / "base", adapter, tmp_path / "merged")


def rename_layer(weights):
    for matrix in "AB":
        weights[FIRST.format(matrix).replace("layers.0", "layers.7")] = weights.pop(
            FIRST.format(matrix)
        )


def narrow(weights):
    weights[FIRST.format("A")] = weights[FIRST.format("A")][:, 1:].contiguous()


def diverge(weights):
    weights[FIRST.format("B")][0, 0] = float("nan")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            rename_layer,
            r"layers\.7\.mlp\.down_proj\.lora_A\.weight is not used, the base has no "
            r"model\.layers\.7",
        ),
        (narrow, r"down_proj is \[64, 192\] in the base, but the adapter changes \[64, 191\]"),
        (diverge, r"down_proj\.lora_B\.weight holds NaN or infinity"),
        (
            lambda weights: weights.pop(FIRST.format("B")),
            r"has no lora_B\.weight; the adapter is not whole",
        ),
        (
            lambda weights: weights.update(
                {"base_model.model.lm_head.weight": weights[FIRST.format("A")].clone()}
            ),
            "is not a LoRA matrix",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(run_folder, tmp_path, edit, message):
    adapter = edit_adapter(run_folder / "adapter", tmp_path / "adapter", edit)
    with pytest.raises(UserError, match=message):
        merge_into(run_folder / "base", adapter, tmp_path / "merged")


def test_a_quantised_base_is_refused(run_folder, tmp_path):
    base = copy(run_folder / "base", tmp_path / "base")
    edit_json(base / "config.json", quantization_config={"bits": 4})
    with pytest.raises(UserError, match="quantization_config; merge into the unquantised weights"):
        merge_into(base, run_folder / "adapter", tmp_path / "merged")


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(run_folder, tmp_path):
    base = copy(run_folder / "base", tmp_path / "base")
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["added_tokens"][-1]["id"] = 5000
    (base / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(UserError, match="rows, but the tokenizer has 5001 tokens"):
        merge_into(base, run_folder / "adapter", tmp_path / "merged")


def test_a_refused_merge_leaves_nothing_and_exits_with_2(run_folder, tmp_path):
    done = run_program(
        "merge_adapter.py", "--base", run_folder / "base", "--adapter", run_folder / "adapter",
        "--settings", MERGE | {"max_shard_size": "1MiB"}, "--merged", tmp_path / "merged",
        "--record", tmp_path / "r.json",
    )  # fmt: skip
    assert done.returncode == 2
    assert "'1MiB' is not a size" in done.stderr
    assert not list(tmp_path.iterdir())
