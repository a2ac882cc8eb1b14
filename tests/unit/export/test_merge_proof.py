"""The proof of a merge sees every fault that was planted, and lets right merges pass."""

import json
import shutil

import pytest
import verify_merge
import yaml
from merged import copy, edit_json, flip_bit, merge_into
from mindtune.cli import UserError
from mindtune.export import proof_logits, proof_prompts, proof_tensors
from mindtune.fixed_chats import fixed_chats
from mindtune.records import list_files
from proven_run import (
    ROOT,
    VERIFY,
    run_program,
    verify_words,
)


def test_the_record_says_what_was_proven(run_folder):
    record = json.loads((run_folder / "verify.json").read_text(encoding="utf-8"))
    facts = record["facts"]
    assert record["stage"] == "verify_merge"
    assert facts["tensors"]["changed"] == {"n": 14, "exact": 14}
    assert facts["tensors"]["other"]["n"] == facts["tensors"]["other"]["equal"] == 13
    assert 0 < facts["tensors"]["largest_rounding"] < 2**-8
    logits = facts["logits"]
    assert (
        0
        < logits["max_rms_in_deviations"]
        < VERIFY["max_logit_rms"]
        < logits["max_difference_in_deviations"] * 10
    )
    assert 0 < logits["decisive_positions"] < logits["positions"]
    assert logits["max_loaded_rms_in_deviations"] < 1e-4, "peft merges otherwise than we do"
    assert len(facts["prompts"]) == 8 + 2
    chats = {row["chat"]: row for row in facts["prompts"]}
    assert (
        chats["dialogue 对话-1"]["dialogue"]["tokens"]
        > chats["dialogue 对话-1"]["prompt"]["tokens"]
    )
    assert "messages" not in chats["dialogue 对话-0"]
    assert chats["zh, no system, one turn"]["messages"][0]["role"] == "user"
    assert record["inputs"][(run_folder / "merged").as_posix()] == facts["hashes"]["merged"]


@pytest.mark.parametrize(
    "name",
    ["model.layers.1.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.bias", "lm_head.weight"],
)
def test_one_wrong_bit_is_found(run_folder, tmp_path, name):
    merged = copy(run_folder / "merged", tmp_path / "merged")
    flip_bit(merged, name)
    with pytest.raises(UserError, match=rf"{name} is not .*1 of \d+ values differ"):
        proof_tensors.prove_tensors(run_folder / "base", run_folder / "adapter", merged)


def test_an_unmerged_or_twice_merged_model_is_found(run_folder, tmp_path):
    with pytest.raises(UserError, match="is not what was trained"):
        proof_tensors.prove_tensors(
            run_folder / "base", run_folder / "adapter", run_folder / "base"
        )
    merge_into(run_folder / "merged", run_folder / "adapter", tmp_path / "twice")
    with pytest.raises(UserError, match="is not what was trained"):
        proof_tensors.prove_tensors(run_folder / "base", run_folder / "adapter", tmp_path / "twice")


def test_a_rewritten_tokenizer_is_found(run_folder, tmp_path):
    merged = copy(run_folder / "merged", tmp_path / "merged")
    tokenizer = json.loads((merged / "tokenizer.json").read_text(encoding="utf-8"))
    (merged / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer\.json differs from the base's"):
        proof_tensors.prove_side_files(run_folder / "base", merged)


def test_a_lost_template_is_found(run_folder, tmp_path):
    merged = copy(run_folder / "merged", tmp_path / "merged")
    (merged / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"lacks chat_template\.jinja"):
        proof_tensors.prove_side_files(run_folder / "base", merged)


def test_a_changed_config_is_found_but_a_stated_dtype_is_not(run_folder, tmp_path):
    merged = copy(run_folder / "merged", tmp_path / "merged")
    edit_json(merged / "config.json", dtype="float32")
    assert "config.json" in proof_tensors.prove_side_files(run_folder / "base", merged)
    edit_json(merged / "config.json", rms_norm_eps=1e-5)
    with pytest.raises(UserError, match=r"config\.json differs"):
        proof_tensors.prove_side_files(run_folder / "base", merged)


def test_a_template_of_another_model_is_found(run_folder):
    chats = fixed_chats()
    with pytest.raises(
        UserError,
        match=r"zh, no system, one turn, prompt: ms-swift's template gives .* they part at token",
    ):
        proof_prompts.prove_prompts(
            run_folder / "merged", chats, {"type": "qwen2", "template": "chatml"}
        )


def test_logits_of_another_rope_are_found(run_folder, tmp_path):
    """Equal tensors, another function: only the logits show it."""
    merged = copy(run_folder / "merged", tmp_path / "merged")
    edit_json(merged / "config.json", rope_parameters={"rope_theta": 100.0, "rope_type": "default"})
    chats = list(fixed_chats().values())
    with pytest.raises(
        UserError, match=r"the same weights loaded as the base .* verify\.max_loaded_rms"
    ):
        proof_logits.prove_logits(
            run_folder / "base", run_folder / "adapter", merged, chats, VERIFY
        )


def logits_facts(one, two):
    """What the proof finds between two models' logits."""
    return proof_logits.summarise([proof_logits.compare_logits(one, two)], VERIFY)


def test_each_bound_sees_what_the_others_do_not():
    """Noise everywhere, one wrong logit among many, a swap of the first two: the proof names the
    bound that is broken.
    """
    import torch

    torch.manual_seed(0)
    one = torch.randn(64, 20000)
    one[:, 7] = one.amax(-1) + 1
    proof_logits.check_bounds(logits_facts(one, one + 0.05 * torch.randn_like(one)), VERIFY)
    row, swap, broken = one.clone(), one.clone(), one.clone()
    row[:, 11] += 3
    swap[3, 7] -= 0.7
    swap[3, one[3].topk(2).indices[1]] += 0.7
    broken[5, 5] = float("nan")
    for two, key in (
        (one + 0.15 * torch.randn_like(one), "max_logit_rms"),
        (row, "max_logit_difference"),
        (swap, "max_swapped_margin"),
        (broken, "max_logit_rms"),
    ):
        with pytest.raises(UserError, match=rf"verify\.{key} allows"):
            proof_logits.check_bounds(logits_facts(one, two), VERIFY)


def test_a_right_merge_of_28_layers_passes_and_its_near_ties_may_swap():
    """What was measured on a card for a right merge of the 7B shape, which bounds of single logits
    refused, and for no merge at all.
    """
    right = {
        "max_rms_in_deviations": 0.051,
        "max_difference_in_deviations": 0.564,
        "argmax_agreement": 0.83,
        "max_swapped_margin_in_deviations": 0.2,
    }
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text(encoding="utf-8"))
    bounds = {
        key: part["default"] for key, part in schema["properties"]["verify"]["properties"].items()
    }
    proof_logits.check_bounds(right, bounds)
    with pytest.raises(
        UserError,
        match=r"root mean square of 0\.248 standard deviations .* verify.max_logit_rms allows "
        r"0\.12",
    ):
        proof_logits.check_bounds(right | {"max_rms_in_deviations": 0.248}, bounds)


def test_a_missing_gpu_is_an_error_and_not_a_cpu():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="no CUDA device"):
        verify_merge.prepare_torch(1, "gpu")


def test_a_failed_proof_removes_an_old_one(run_folder, tmp_path):
    """verify.json of yesterday must not let today's merge pass."""
    merged = copy(run_folder / "merged", tmp_path / "merged")
    flip_bit(merged, "lm_head.weight")
    shutil.copy(run_folder / "verify.json", tmp_path / "verify.json")
    done = run_program(
        "verify_merge.py", *verify_words(run_folder, merged=merged, verify=tmp_path / "verify.json")
    )
    assert done.returncode == 2
    assert done.stderr.strip().endswith("merge again on this machine")
    assert not (tmp_path / "verify.json").exists()


def test_two_merges_give_the_same_bytes(run_folder, tmp_path):
    merge_into(run_folder / "base", run_folder / "adapter", tmp_path / "again")
    assert list_files(tmp_path / "again") == list_files(run_folder / "merged")
    for name in list_files(tmp_path / "again"):
        assert (tmp_path / "again" / name).read_bytes() == (
            run_folder / "merged" / name
        ).read_bytes()
