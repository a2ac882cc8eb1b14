"""Merges of what other methods than LoRA trained: DoRA, all weights, a tied head."""

import shutil
from pathlib import Path

import pytest
from merged import FIRST, copy, edit_adapter, edit_json, flip_bit, merge_into
from mindtune.cli import UserError
from mindtune.export import proof_tensors
from mindtune.tensors import load_tensor, read_model
from proven_run import (
    build_adapter,
)


def test_rank_stabilised_lora_is_scaled_by_the_root(run_folder, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = build_adapter(run_folder / "base", tmp_path / "adapter", use_rslora=True)
    facts = merge_into(run_folder / "base", adapter, tmp_path / "merged")
    assert facts["scale"] == 16 / 2
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(run_folder / "base", dtype="bfloat16"), adapter
    )
    theirs = model.merge_and_unload().state_dict()
    merged = read_model(tmp_path / "merged")
    assert all((load_tensor(tensor) == theirs[name]).all() for name, tensor in merged.items())


def build_dora(base: Path, folder: Path) -> Path:
    """A DoRA adapter whose magnitudes have moved too."""
    import torch

    def move(weights):
        for name in sorted(weights):
            if name.endswith("lora_magnitude_vector"):
                weights[name] *= 1 + 0.3 * torch.rand(weights[name].shape)

    build_adapter(base, folder.with_name("at the start"), use_dora=True)
    return edit_adapter(folder.with_name("at the start"), folder, move)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dora_adapter_is_merged_as_peft_does(run_folder, tmp_path, dtype):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = build_dora(run_folder / "base", tmp_path / "adapter")
    merge_into(run_folder / "base", adapter, tmp_path / "merged", dtype=dtype)
    proof = proof_tensors.prove_tensors(run_folder / "base", adapter, tmp_path / "merged")
    assert proof["changed"] == {"n": 14, "exact": 14}
    base = AutoModelForCausalLM.from_pretrained(run_folder / "base", dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, adapter).merge_and_unload().state_dict()
    for name, tensor in read_model(tmp_path / "merged").items():
        exact, rounding = theirs[name], {"float32": 1e-6, "bfloat16": 2**-8}[dtype]
        assert torch.allclose(load_tensor(tensor).float(), exact, rtol=rounding, atol=1e-7), name
    flip_bit(tmp_path / "merged", "model.layers.0.mlp.up_proj.weight")
    with pytest.raises(UserError, match="up_proj.weight is not what was trained"):
        proof_tensors.prove_tensors(run_folder / "base", adapter, tmp_path / "merged")


def test_a_dora_adapter_without_a_magnitude_is_refused(run_folder, tmp_path):
    adapter = build_dora(run_folder / "base", tmp_path / "whole")
    torn = edit_adapter(
        adapter,
        tmp_path / "adapter",
        lambda weights: weights.pop(
            FIRST.format("B").replace("lora_B.weight", "lora_magnitude_vector")
        ),
    )
    with pytest.raises(UserError, match="has no lora_magnitude_vector; the adapter is not whole"):
        merge_into(run_folder / "base", torn, tmp_path / "merged")


def train_all(base: Path, folder: Path, **weights: object) -> Path:
    """A folder as a training of all weights leaves it; `weights` replace tensors, None takes them
    away.
    """
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(3)
    values = {name: load_tensor(tensor).float() for name, tensor in read_model(base).items()}
    values = {
        name: value + 0.01 * torch.randn(value.shape) for name, value in values.items()
    } | weights
    folder.mkdir()
    save_file(
        {name: value for name, value in values.items() if value is not None},
        folder / "model.safetensors",
    )
    shutil.copyfile(base / "config.json", folder / "config.json")
    return folder


def test_weights_that_were_all_trained_take_the_base_s_place(run_folder, tmp_path):
    trained = train_all(run_folder / "base", tmp_path / "trained")
    facts = merge_into(run_folder / "base", trained, tmp_path / "merged")
    assert (facts["merged_tensors"], facts["other_tensors"]) == (27, 0)
    proof = proof_tensors.prove_tensors(run_folder / "base", trained, tmp_path / "merged")
    assert proof["changed"]["n"] == 27 and 0 < proof["largest_rounding"] < 2**-8
    flip_bit(tmp_path / "merged", "model.norm.weight")
    with pytest.raises(UserError, match="model.norm.weight is not what was trained"):
        proof_tensors.prove_tensors(run_folder / "base", trained, tmp_path / "merged")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"norm.weight is missing and in the base \(64,\)"),
        (float("nan"), "model.norm.weight holds NaN"),
    ],
)
def test_trained_weights_that_do_not_fit_are_refused(run_folder, tmp_path, value, message):
    import torch

    wrong = {"model.norm.weight": None if value is None else torch.full((64,), value)}
    trained = train_all(run_folder / "base", tmp_path / "trained", **wrong)
    with pytest.raises(UserError, match=message):
        merge_into(run_folder / "base", trained, tmp_path / "merged")


def test_a_tied_head_that_is_stored_twice_is_left_out(run_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    base = copy(run_folder / "base", tmp_path / "base")
    edit_json(base / "config.json", tie_word_embeddings=True)
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    facts = merge_into(base, run_folder / "adapter", tmp_path / "merged")
    assert facts["left_out"] == ["lm_head.weight"]
    assert "lm_head.weight" not in read_model(tmp_path / "merged")
    assert (
        proof_tensors.prove_tensors(base, run_folder / "adapter", tmp_path / "merged")["other"]["n"]
        == len(weights) - 15
    )
    weights["lm_head.weight"][0] += 1
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UserError, match="differs from the embedding although config.json ties them"
    ):
        merge_into(base, run_folder / "adapter", tmp_path / "again")
