"""A training that is killed and goes on has the same losses and the same adapter bytes as one that is not: packed, two epochs.

Runs real ms-swift on a CPU in float32 with a small random model, in the train environment (`make test-faults`).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
SETTINGS = {
    "device": "cpu", "method": "lora", "dtype": "float32", "attention": "sdpa", "packing": True, "max_length": 256,
    "lora": {"rank": 8, "alpha": 32, "dropout": 0.1, "target_modules": ["q_proj", "v_proj", "down_proj"]},
    "batch_size": 1, "grad_accumulation": 2, "epochs": 2, "learning_rate": 2.0e-3, "warmup_ratio": 0.1,
    "gradient_checkpointing": False, "seed": 42, "save_steps": 4, "save_total_limit": 2, "logging_steps": 1, "gpus": 1,
    "kernels": "fast", "memory": "auto",
}  # fmt: skip
KIND = {"id": "small", "type": "qwen2", "template": "qwen2_5"}
FIRST, REPLY = "我最近总是失眠，", "听起来你很辛苦，我们一起看看可以怎么办。"


def program(name, *words):
    """The command line of one of our programs, in this interpreter."""
    return [sys.executable, str(SCRIPTS / name), *map(str, words)]


def environment():
    keep = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **keep, "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A small model, a cached data set and its plan."""
    from models import build_small_model

    folder = tmp_path_factory.mktemp("prepared")
    build_small_model(folder / "model")
    draw = random.Random(0)
    for name, count in (("train", 34), ("dev", 3)):
        rows = [
            {
                "id": f"{name}{number}",
                "source": f"small:{name}.jsonl#{number}",
                "conversations": [
                    {"from": "human", "value": FIRST * draw.randint(1, 6)},
                    {"from": "gpt", "value": REPLY * draw.randint(1, 3)},
                ],
            }
            for number in range(count)
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    cache = program(
        "cache_dataset.py", "--train", folder / "train.jsonl", "--dev", folder / "dev.jsonl", "--tokenizer", folder / "model",
        "--model", json.dumps(KIND), "--settings", json.dumps({"max_length": 256, "seed": 42}),
        "--cached", folder / "cached", "--record", folder / "cache.json",
    )  # fmt: skip
    subprocess.run(cache, env=environment(), check=True, capture_output=True)
    plan = program(
        "pack_stats.py", "--cached", folder / "cached", "--settings", json.dumps(SETTINGS),
        "--lengths-figure", folder / "l.svg", "--fill-figure", folder / "f.svg", "--record", folder / "plan.json",
    )  # fmt: skip
    subprocess.run(plan, env=environment(), check=True, capture_output=True)
    (folder / "model.json").write_text('{"outputs": {"model": "0"}}')
    return folder


class Training:
    """One run of train_lora.py in a folder of its own."""

    def __init__(self, prepared, work):
        self.work = work
        self.command = program(
            "train_lora.py", "--run", "main", "--cached", prepared / "cached", "--pack-stats", prepared / "plan.json",
            "--model", prepared / "model", "--model-record", prepared / "model.json", "--model-kind", json.dumps(KIND),
            "--settings", json.dumps(SETTINGS), "--code", "x", "--state-root", work / "state", "--adapter", work / "adapter",
            "--history", work / "history.csv", "--loss-figure", work / "loss.svg", "--record", work / "record.json",
        )  # fmt: skip

    def lines(self):
        files = list(self.work.glob("state/*/steps.jsonl"))
        return files[0].read_text().count("\n") if files else 0

    def finish(self):
        done = subprocess.run(self.command, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def end_after(self, steps, how):
        """Run until `steps` more steps are written, then end the whole process group."""
        before = self.lines()
        with open(self.work / "log", "a") as log:
            running = subprocess.Popen(self.command, env=environment(), stdout=log, stderr=log, start_new_session=True)
        while self.lines() < before + steps:
            assert running.poll() is None, (self.work / "log").read_text()[-3000:]
            time.sleep(0.002)
        os.killpg(running.pid, how)
        running.wait()

    def result(self):
        record = json.loads((self.work / "record.json").read_text())["facts"]
        record.pop("run_id")
        return {
            "adapter": (self.work / "adapter/adapter_model.safetensors").read_bytes(),
            "history": (self.work / "history.csv").read_text(),
            "facts": record,
        }


@pytest.fixture(scope="session")
def uninterrupted(prepared, tmp_path_factory):
    training = Training(prepared, tmp_path_factory.mktemp("uninterrupted"))
    training.finish()
    return training.result()


def test_killed_again_and_again(prepared, uninterrupted, tmp_path):
    steps = json.loads((prepared / "plan.json").read_text())["facts"]["steps_per_epoch"]
    draw = random.Random()  # another moment every time: the result must not depend on it
    moments = [draw.randint(1, 3), draw.randint(5, 7), steps + draw.randint(0, 2)]
    print(f"kill -9 after {moments[0]} steps, SIGTERM after {moments[1]} more, kill -9 after {moments[2]} more")
    training = Training(prepared, tmp_path)
    training.end_after(moments[0], signal.SIGKILL)
    training.end_after(moments[1], signal.SIGTERM)
    training.end_after(moments[2], signal.SIGKILL)
    assert "going on from step" in training.finish()
    result = training.result()
    assert result["history"] == uninterrupted["history"]
    assert result["facts"] == uninterrupted["facts"]
    assert result["adapter"] == uninterrupted["adapter"]


def test_the_second_epoch_has_an_order_of_its_own(uninterrupted, prepared):
    """Otherwise a replayed epoch would pass the test above."""
    rows = [line.split(",") for line in uninterrupted["history"].splitlines()]
    tokens = [int(row[rows[0].index("tokens")]) for row in rows[1:]]
    half = len(tokens) // 2
    assert half == json.loads((prepared / "plan.json").read_text())["facts"]["steps_per_epoch"]
    assert sum(tokens[:half]) == sum(tokens[half:]) and tokens[:half] != tokens[half:]


def test_a_torn_checkpoint_goes_back_to_the_one_before(prepared, uninterrupted, tmp_path):
    training = Training(prepared, tmp_path)
    training.end_after(9, signal.SIGKILL)
    newest = sorted(tmp_path.glob("state/*/checkpoint-*"), key=lambda path: int(path.name[11:]))[-1]
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:500])
    assert "was cut off" in training.finish()
    assert training.result()["adapter"] == uninterrupted["adapter"]
