"""What we say to ms-swift and what we predict of it, against ms-swift itself."""

import importlib
import json
import os
import random
import subprocess
import sys

import pytest
from mindtune.cli import UserError
from mindtune.train.flags import PLUGIN, compare_args, train_flags
from mindtune.train.packing import packs, steps_per_epoch
from mindtune.train.swift import environment, render
from models import build_small_model

SETTINGS = {
    "device": "cpu", "method": "lora", "dtype": "float32", "attention": "sdpa", "packing": True,
    "max_length": 768,
    "lora": {"rank": 8, "alpha": 32, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"]},
    "batch_size": 1, "grad_accumulation": 4, "epochs": 1, "learning_rate": 2.0e-4,
    "warmup_ratio": 0.1,
    "gradient_checkpointing": False, "seed": 42, "save_steps": 5, "save_total_limit": 3,
    "checkpoint": "last", "logging_steps": 1, "gpus": 1,
    "kernels": "fast", "base_precision": "bf16", "memory": "auto",
}  # fmt: skip
MODEL = {"id": "tiny", "type": "qwen2", "template": "qwen2_5"}


def swifts_packs(lengths, capacity):
    """The index lists of ms-swift's own PackingDataset."""
    from datasets import Dataset
    from swift.dataset.packing import PackingDataset

    class Template:
        max_length, packing, padding_free = capacity, False, False

    return PackingDataset(
        Template(), Dataset.from_dict({"lengths": lengths}), packing_length=capacity
    ).packed_idx


@pytest.mark.parametrize("rows", [1, 2, 999, 1000, 1001, 2568])
def test_packs_are_the_trainers(rows):
    draw = random.Random(rows)
    lengths = [draw.randint(20, 200) for _ in range(rows)]
    ours = packs(lengths, 200)
    assert ours == swifts_packs(lengths, 200)
    assert sorted(row for pack in ours for row in pack) == list(range(rows))
    assert max(sum(lengths[row] for row in pack) for pack in ours) <= 200


def test_the_plugin_packs_without_another_process(monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGIN.parent))
    importlib.import_module(PLUGIN.stem)
    monkeypatch.setattr(
        "multiprocessing.get_context",
        lambda *_: pytest.fail("ms-swift asks for a process to pack in"),
    )
    lengths = [20 + 37 * row % 180 for row in range(1500)]
    assert swifts_packs(lengths, 200) == packs(lengths, 200)


def test_code_in_a_model_folder_is_not_run(tmp_path):
    folder, marker = tmp_path / "model", tmp_path / "was run"
    build_small_model(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"auto_map": {"AutoConfig": "configuration_evil.EvilConfig"}})
    )
    (folder / "configuration_evil.py").write_text(
        "import pathlib\nfrom transformers import Qwen2Config\n\n\nclass "
        "EvilConfig(Qwen2Config):\n    pass\n\n\n"
        f"pathlib.Path({str(marker)!r}).touch()\n"
    )
    program = (
        # alone, without the look at the folder before
        "import sys\nfrom mindtune.safe_loading import guard_swift\nguard_swift()\n"
        "from swift.model import get_processor\nget_processor(sys.argv[1], model_type='qwen2')\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(PLUGIN.parents[3]),
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not marker.exists()
    assert "trust_remote_code" not in done.stdout + done.stderr


def test_the_trainer_gets_no_key_and_none_of_swanlab_s_settings(monkeypatch):
    for name in (
        "HF_TOKEN",
        "MODELSCOPE_API_TOKEN",
        "SWANLAB_API_KEY",
        "SWANLAB_WEBHOOK",
        "swanlab_web_host",
    ):
        monkeypatch.setenv(name, "planted")
    given = environment(MINDTUNE_SWANLAB_ID="1")
    assert "planted" not in given.values()
    assert (
        given["HF_HUB_OFFLINE"] == "1"
        and given["MINDTUNE_SWANLAB_ID"] == "1"
        and given["PATH"] == os.environ["PATH"]
    )


def test_a_dialogue_over_the_limit_is_refused():
    with pytest.raises(UserError, match="201 tokens.*200"):
        packs([10, 201], 200)


@pytest.mark.parametrize(
    ("sequences", "batch", "accumulation", "gpus", "steps"),
    [(30, 2, 2, 1, 8), (29, 1, 4, 1, 8), (1, 8, 4, 1, 1), (33, 8, 4, 1, 2), (64, 8, 4, 2, 1)],
)
def test_steps(sequences, batch, accumulation, gpus, steps):
    assert steps_per_epoch(sequences, batch, accumulation, gpus) == steps


def test_flags_are_words_of_their_own():
    words = render({"target_modules": ["q_proj", "v_proj"], "bf16": True, "learning_rate": 2.0e-4})
    assert words == [
        "--bf16",
        "true",
        "--learning_rate",
        "0.0002",
        "--target_modules",
        "q_proj",
        "v_proj",
    ]


def test_every_flag_is_known_to_ms_swift():
    from dataclasses import fields

    from swift.arguments import SftArguments

    known = {field.name for field in fields(SftArguments)}
    assert train_flags(MODEL, SETTINGS).keys() <= known
    assert PLUGIN.is_file()


def test_a_value_that_the_trainer_took_otherwise_is_named(tmp_path):
    flags = train_flags(MODEL, SETTINGS)
    (tmp_path / "args.json").write_text(json.dumps(flags))
    compare_args(tmp_path / "args.json", flags)
    # a training that went on is the same, however often it spoke before
    (tmp_path / "args.json").write_text(json.dumps({**flags, "logging_steps": 7}))
    compare_args(tmp_path / "args.json", flags)
    (tmp_path / "args.json").write_text(json.dumps({**flags, "lora_dropout": 0.05}))
    with pytest.raises(UserError, match="lora_dropout 0.05 where the configuration says 0.1"):
        compare_args(tmp_path / "args.json", flags)
