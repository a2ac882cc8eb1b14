"""Every train.method trains for real, and what it leaves is merged and proven."""

import json
import subprocess

import pytest
from training import KIND, Training, environment, prepare, program, template_of

VERIFY = {
    "n_prompts": 2, "max_prompt_tokens": 64, "logits_dtype": "float32", "device": "cpu",
    "max_logit_rms": 0.12, "max_logit_difference": 1.0, "max_swapped_margin": 0.5,
    "max_loaded_rms": 0.01,
}  # fmt: skip
MERGE = {"dtype": "bfloat16", "max_shard_size": "2GB"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    # a path of more bytes than characters, also for temporary files
    deep = tmp_path_factory.mktemp("prepared") / ("深" * 80)
    deep.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(deep))
        return prepare(deep)


def run(name, *words):
    done = subprocess.run(program(name, *words), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done


@pytest.mark.parametrize("method", ["dora", "qlora", "full"])
def test_a_method_is_trained_merged_and_proven(prepared, tmp_path, method):
    training = Training(prepared, tmp_path, method=method, epochs=1, save_steps=100)
    said = training.finish()
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["params"]["method"] == method
    assert record["facts"]["last_loss"] < record["facts"]["first_loss"]
    assert ("bitsandbytes" in record["env"]) == (method == "qlora")
    check_what_was_trained(method, tmp_path, said)
    paths = ["--base", prepared / "model", "--adapter", tmp_path / "adapter"]
    merged = tmp_path / "merged"
    run(
        "merge_adapter.py",
        *paths,
        "--settings",
        json.dumps(MERGE),
        "--merged",
        merged,
        "--record",
        tmp_path / "merge.json",
    )
    run(
        "verify_merge.py", *paths, "--merged", merged, "--prompts", prepared / "dev.jsonl",
        "--model", template_of(KIND),
        "--settings", json.dumps(VERIFY), "--verify", tmp_path / "verify.json",
    )  # fmt: skip
    proof = json.loads((tmp_path / "verify.json").read_text())["facts"]["tensors"]
    assert proof["changed"]["exact"] == (27 if method == "full" else 6)


def check_what_was_trained(method, work, said):
    """The trainer did what the method says, by its own record and by what it left."""
    args = json.loads(next(work.glob("state/*/checkpoint-*/args.json")).read_text())
    assert args["tuner_type"] == ("full" if method == "full" else "lora")
    assert (args["quant_bits"] == 4) == (method == "qlora")
    names = sorted(path.name for path in (work / "adapter").iterdir())
    if method == "full":
        assert names == ["config.json", "model.safetensors"]
        return
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    assert json.loads((work / "adapter/adapter_config.json").read_text())["use_dora"] == (
        method == "dora"
    )
    assert (
        b"lora_magnitude_vector" in (work / "adapter/adapter_model.safetensors").read_bytes()
    ) == (method == "dora")
