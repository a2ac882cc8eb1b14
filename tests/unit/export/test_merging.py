"""The merge is ms-swift's, bit for bit; its proof fails when one bit, one file or one template is
wrong; bad input is refused.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import verify_merge
import yaml
from merge_adapter import merge
from mindtune.cli import UserError
from mindtune.export import proof_logits, proof_prompts, proof_tensors
from mindtune.fixed_chats import fixed_chats
from mindtune.records import list_files, sha256_path
from mindtune.tensors import load_tensor, read_model
from proven_run import (
    KIND,
    MERGE,
    ROOT,
    VERIFY,
    build_adapter,
    proven_run,
    run_program,
    verify_words,
)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    return proven_run(tmp_path_factory)


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8"
    )


def merge_into(base: Path, adapter: Path, folder: Path, **settings: str) -> dict:
    """Run the merge in this process; return its facts."""
    folder.mkdir()
    return merge(base, adapter, folder, MERGE | settings, threads=1)[1]


def flip_bit(folder: Path, name: str) -> None:
    """Flip the lowest bit of a tensor's first value, in its file."""
    tensor = read_model(folder)[name]
    data = bytearray(tensor.file.read_bytes())
    size = int.from_bytes(data[:8], "little")
    data[8 + size + json.loads(data[8 : 8 + size])[name]["data_offsets"][0]] ^= 1
    tensor.file.write_bytes(data)


# -------------------------------------------------------------------------------------------- merge


def test_shards_are_byte_for_byte_those_of_ms_swift(run_folder, tmp_path):
    command = [
        sys.executable,
        "-m",
        "swift.cli.export",
        "--model",
        run_folder / "base",
        "--adapters",
        run_folder / "adapter",
    ]
    command += [
        "--model_type",
        KIND["type"],
        "--template",
        KIND["template"],
        "--merge_lora",
        "true",
        "--safe_serialization",
        "true",
    ]
    command += [
        "--torch_dtype",
        MERGE["dtype"],
        "--max_shard_size",
        MERGE["max_shard_size"],
        "--output_dir",
        tmp_path / "theirs",
    ]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    theirs, ours = tmp_path / "theirs", run_folder / "merged"
    names = [name for name in list_files(theirs) if name.startswith("model")]
    assert len(names) > 3
    assert names == [name for name in list_files(ours) if name.startswith("model")]
    for name in names:
        assert (theirs / name).read_bytes() == (ours / name).read_bytes(), name


def test_the_files_are_the_same_for_any_number_of_processes(run_folder, tmp_path):
    done = run_program(
        "merge_adapter.py", "--base", run_folder / "base", "--adapter", run_folder / "adapter",
        "--settings", MERGE,
        "--threads", 3, "--merged", tmp_path / "merged", "--record", tmp_path / "r.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, three = (
        json.loads(path.read_text())
        for path in (run_folder / "merge_adapter.json", tmp_path / "r.json")
    )
    assert list(one["outputs"].values()) == list(three["outputs"].values())
    assert sorted(one["inputs"].values()) == sorted(three["inputs"].values())
    assert {name: sha256_path(run_folder / name) for name in ("base", "adapter", "merged")} == {
        Path(name).name: digest for name, digest in (one["inputs"] | one["outputs"]).items()
    }


def test_shards_are_at_most_as_large_as_asked_for(run_folder):
    facts = json.loads((run_folder / "merge_adapter.json").read_text())["facts"]
    header = 10_000
    assert not facts["above_limit"]
    assert all(size <= 60_000 + header for size in facts["shards"].values())


def test_the_adapter_changed_every_target(run_folder):
    import torch

    base, merged = read_model(run_folder / "base"), read_model(run_folder / "merged")
    changed = {
        name for name in base if not torch.equal(load_tensor(base[name]), load_tensor(merged[name]))
    }
    assert changed == {name for name in base if name.endswith("proj.weight")}


def test_files_beside_the_weights_are_the_base_s(run_folder):
    base, merged = run_folder / "base", run_folder / "merged"
    for name in (
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ):
        assert (merged / name).read_bytes() == (base / name).read_bytes()
    assert not (merged / "LICENSE").exists()


def test_another_dtype_is_stored_and_stated(run_folder, tmp_path):
    facts = merge_into(
        run_folder / "base", run_folder / "adapter", tmp_path / "merged", dtype="float32"
    )
    assert {tensor.dtype for tensor in read_model(tmp_path / "merged").values()} == {"float32"}
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "float32"
    assert facts["config_keys_changed"] == ["dtype"]
    assert facts["converted_tensors"] == facts["merged_tensors"] + facts["other_tensors"]
    assert (
        proof_tensors.prove_tensors(
            run_folder / "base", run_folder / "adapter", tmp_path / "merged"
        )["changed"]["n"]
        == 14
    )


def test_one_large_shard_has_no_index(run_folder, tmp_path):
    merge_into(
        run_folder / "base", run_folder / "adapter", tmp_path / "merged", max_shard_size="2GB"
    )
    assert [name for name in list_files(tmp_path / "merged") if name.startswith("model")] == [
        "model.safetensors"
    ]


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


def edit_adapter(source: Path, target: Path, edit) -> Path:
    from safetensors.torch import load_file, save_file

    copy(source, target)
    weights = load_file(target / "adapter_model.safetensors")
    edit(weights)
    save_file(weights, target / "adapter_model.safetensors")
    return target


FIRST = "base_model.model.model.layers.0.mlp.down_proj.lora_{}.weight"


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


# -------------------------------------------------------------------------------------------- proof


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
