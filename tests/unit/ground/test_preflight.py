"""What is refused on a node that cannot do the job: in one sentence, in seconds, before anything
is loaded.
"""

import ctypes
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from mindtune import nvml, preflight
from mindtune.cli import UserError
from mindtune.train.memory import stored_bytes

SCRIPTS = Path(preflight.__file__).resolve().parents[1]
DRIVER = {"driver": "550.54.15", "cuda": (12, 4), "names": ["NVIDIA H100 80GB HBM3"]}
BUILD = {"torch": "2.9.0+cu126", "cuda": "12.6", "cards": 1}


def without_driver() -> bool:
    try:
        ctypes.CDLL(nvml.NVML)
    except OSError:
        return True
    return False


@pytest.mark.skipif(not without_driver(), reason="this machine has an NVIDIA driver")
def test_a_gpu_program_on_a_node_without_a_driver_ends_with_status_2(tmp_path):
    """The program itself, with the settings of the real configuration, and nothing to load."""
    (tmp_path / "config.json").write_text(
        '{"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": '
        '1, "num_key_value_heads": 1}'
    )
    settings = {
        "method": "lora",
        "device": "gpu",
        "attention": "flash_attention_4",
        "gpus": 1,
        "save_total_limit": 2,
        "lora": {"rank": 8},
    }
    paths = ("cached", "pack-stats", "made-by", "adapter", "history", "loss-figure", "record")
    words = [
        sys.executable,
        str(SCRIPTS / "train_lora.py"),
        "--run",
        "main",
        "--model",
        str(tmp_path),
        "--code",
        "x",
    ]
    words += [
        "--settings",
        json.dumps(settings),
        "--model-kind",
        json.dumps({"id": "small", "type": "qwen2", "template": "qwen2_5"}),
        "--state-root",
        str(tmp_path / "state"),
    ]
    words += [word for name in paths for word in (f"--{name}", str(tmp_path / name))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and done.stderr.startswith(
        "error: this node has no NVIDIA driver (libnvidia-ml.so.1"
    )
    assert done.stderr.count("\n") == 1


def test_a_process_that_cannot_write_chinese_is_refused(tmp_path):
    program = (
        "from pathlib import Path; from mindtune.preflight import check_node; "
        "check_node(Path('.'), 0)"
    )
    ascii_only = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONPATH": str(SCRIPTS),
    }
    for change, refused in (
        (ascii_only, True),
        ({"LC_ALL": "C.UTF-8", "PYTHONPATH": str(SCRIPTS)}, False),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **change},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) is refused
        assert ("which cannot hold Chinese; set LC_ALL=C.UTF-8" in done.stderr) is refused


def test_a_folder_without_room_is_named(tmp_path):
    preflight.check_room(tmp_path, 1)
    with pytest.raises(
        UserError, match=f"{tmp_path} has [0-9]+ MiB free and this job needs 1073741824 MiB there"
    ):
        preflight.check_room(tmp_path, 1 << 50)


def test_a_node_without_a_compiler_is_refused_before_the_first_kernel(tmp_path, monkeypatch):
    headers = tmp_path / "include"
    headers.mkdir()
    (headers / "Python.h").touch()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="neither gcc nor clang is on PATH"):
        preflight.check_compiler(str(headers))
    for name in ("clang", "my-cc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    preflight.check_compiler(str(headers))
    monkeypatch.setenv("CC", "/opt/无此/gcc")
    with pytest.raises(UserError, match="CC is /opt/无此/gcc"):
        preflight.check_compiler(str(headers))
    monkeypatch.setenv("CC", "my-cc")
    (headers / "Python.h").unlink()
    with pytest.raises(UserError, match=f"{headers} has no Python.h"):
        preflight.check_compiler(str(headers))


def test_triton_would_look_for_the_headers_where_we_do():
    """The probe's folder is that of the interpreter which is asked, which need not be this one."""
    seen = preflight.probe(sys.executable, [])
    assert seen["include"] == sysconfig.get_paths("posix_prefix")["include"]
    assert Path(seen["include"]).name == f"python{sys.version_info.major}.{sys.version_info.minor}"


def test_a_disk_that_cannot_hold_base_and_merged_is_named_in_the_first_seconds(tmp_path):
    """Qwen2.5-7B's published sizes, and a disk that is too small for a model a thousand times as
    large.
    """
    seven = {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
    }  # fmt: skip
    assert stored_bytes(seven) == 15_231_233_024
    assert stored_bytes({"model_type": "other"}) == 0
    preflight.check_results_room(tmp_path, 1)
    with pytest.raises(
        UserError,
        match=f"{tmp_path} is on a disk with .* GB free, and this model needs 30462466 GB",
    ):
        preflight.check_results_room(tmp_path, stored_bytes(seven) * 10**6)


def test_the_cards_are_those_that_the_job_asked_for():
    h100 = DRIVER["names"]
    for model in ("h100", "H100-80GB", "nvidia_h100_80gb_hbm3", "hopper", "1g.10gb", ""):
        preflight.check_cards(h100, 1, model, 1)
    with pytest.raises(
        UserError, match="asked for h100 and the node has NVIDIA A100-SXM4-80GB; correct gpu_model"
    ):
        preflight.check_cards(["NVIDIA A100-SXM4-80GB"], 1, "h100", 1)
    with pytest.raises(
        UserError, match=r"wants 2 GPUs and the driver sees 1 \(NVIDIA H100 80GB HBM3\)"
    ):
        preflight.check_cards(h100, 1, "h100", 2)
    with pytest.raises(UserError, match=r"wants 1 GPUs and the driver sees 0 \(none\)"):
        preflight.check_cards([], 1, "", 0)


def test_the_driver_has_to_know_torchs_cuda():
    preflight.check_torch(BUILD, DRIVER, 1)  # a newer minor version of the same CUDA runs
    with pytest.raises(
        UserError,
        match="550.54.15 of this node knows CUDA up to 12.4 and torch .* built for CUDA 13.0",
    ):
        preflight.check_torch({**BUILD, "cuda": "13.0"}, DRIVER, 1)
    with pytest.raises(
        UserError, match="torch may use 0 of the 1 cards wanted .*ask for the card with gpu=1"
    ):
        preflight.check_torch({**BUILD, "cards": 0}, DRIVER, 1)


def test_this_environments_torch_is_seen_and_its_modules_are_imported():
    seen = preflight.probe(sys.executable, ["json", "transformers"])
    with pytest.raises(
        UserError, match="is a CPU build; build the environment of a configuration with device gpu"
    ):
        preflight.check_torch(seen, DRIVER, 1)
    for look in (
        lambda names: preflight.probe(sys.executable, names),
        lambda names: preflight.check_this_process(1, names),
    ):
        with pytest.raises(
            UserError,
            match=r"flash_attn.cute cannot be imported by .* \(ModuleNotFoundError: No module",
        ):
            look(["flash_attn.cute"])


def test_the_trainers_own_process_refuses_a_torch_that_cannot_use_the_card(monkeypatch):
    monkeypatch.setattr(preflight, "read_nvml", lambda: DRIVER)
    with pytest.raises(
        UserError, match="is a CPU build; build the environment of a configuration with device gpu"
    ):
        preflight.check_this_process(1, ["json"])
