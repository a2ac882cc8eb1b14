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
    "gradient_checkpointing": False, "seed": 42, "save_steps": 2, "save_total_limit": 2, "checkpoint": "last", "logging_steps": 1, "gpus": 1,
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

    def step(self):
        """The last step that was written."""
        files = list(self.work.glob("state/*/steps.jsonl"))
        lines = [line for line in files[0].read_text().split("\n")[:-1] if line] if files else []
        return json.loads(lines[-1])["step"] if lines else 0

    def run(self):
        return subprocess.run(self.command, env=environment(), capture_output=True, text=True)

    def finish(self):
        done = self.run()
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def killed_after(self, step, meanwhile=None):
        """Run until a step is written; stop, do something `meanwhile`, kill -9 the whole process group; return what it printed."""
        with open(self.work / "log", "w") as log:
            running = subprocess.Popen(self.command, env=environment(), stdout=log, stderr=log, start_new_session=True)
        try:
            while self.step() < step:
                assert running.poll() is None, (self.work / "log").read_text()[-3000:]
                time.sleep(0.002)
            os.killpg(running.pid, signal.SIGSTOP)
            if meanwhile:
                meanwhile()
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        return (self.work / "log").read_text()

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


def test_killed_in_both_epochs_with_a_torn_checkpoint_and_a_second_writer(prepared, uninterrupted, tmp_path):
    epoch = json.loads((prepared / "plan.json").read_text())["facts"]["steps_per_epoch"]
    draw = random.Random()  # another moment every time: the result must not depend on it
    first, second = draw.randint(5, epoch - 1), epoch + draw.randint(1, 3)
    print(f"kill -9 after step {first} and after step {second} of {2 * epoch}, {epoch} an epoch")
    training = Training(prepared, tmp_path)

    def start_another():
        other = training.run()
        assert other.returncode == 2 and "in use by another trainer" in other.stderr, other.stderr[-3000:]

    training.killed_after(first, meanwhile=start_another)
    newest = max(tmp_path.glob("state/*/checkpoint-*"), key=lambda path: int(path.name[11:]))
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:500])

    said = training.killed_after(second)
    assert "was cut off" in said and "going on from step" in said
    assert epoch < training.step() < 2 * epoch, "the kill did not land in the second epoch"

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
