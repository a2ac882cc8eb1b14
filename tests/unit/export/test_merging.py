"""The merge is ms-swift's, bit for bit; its proof fails when one bit, one file or one template is
wrong; bad input is refused.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from merged import merge_into
from mindtune.export import proof_tensors
from mindtune.records import list_files, sha256_path
from mindtune.tensors import load_tensor, read_model
from proven_run import (
    KIND,
    MERGE,
    run_program,
)

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


# -------------------------------------------------------------------------------------------- proof
