"""Real trainings by train_lora.py on a CPU in float32 with a small random model, for the tests
that run in the train environment.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from mindtune.environments import venv_name, venvs_folder
from mindtune.records import write_record
from models import build_small_model

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"
SETTINGS = {
    "device": "cpu",
    "method": "lora",
    "dtype": "float32",
    "attention": "sdpa",
    "packing": True,
    "max_length": 256,
    "lora": {
        "rank": 8,
        "alpha": 32,
        "dropout": 0.1,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
    },
    "batch_size": 1,
    "grad_accumulation": 2,
    "epochs": 2,
    "learning_rate": 2.0e-3,
    "warmup_ratio": 0.1,
    "gradient_checkpointing": False,
    "seed": 42,
    "save_steps": 2,
    "save_total_limit": 2,
    "checkpoint": "last",
    "logging_steps": 1,
    "gpus": 1,
    "kernels": "fast",
    "base_precision": "bf16",
    "memory": "auto",
}
OF_PACKS = ("max_length", "packing", "batch_size", "grad_accumulation", "epochs", "gpus")
QUANTIZER = f"{venvs_folder()}/{venv_name('qlora', on_gpu=False)}/lib/python3.11/site-packages"
KIND = {"id": "small", "type": "qwen2", "template": "qwen2_5"}
FIRST, REPLY = "我最近总是失眠，", "听起来你很辛苦，我们一起看看可以怎么办。"


def program(name, *words):
    """The command line of one of our programs, in this interpreter."""
    return [sys.executable, str(SCRIPTS / name), *map(str, words)]


def environment():
    keep = {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUTF8": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {**os.environ, **keep, "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"}


def prepare(folder, build=build_small_model, kind=KIND):
    """A small model of a kind and a cached data set in a folder; return it."""
    build(folder / "model")
    write_dialogues(folder)
    done = subprocess.run(cache_command(folder, kind), env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    write_record(
        folder / "model.json",
        "fetch_model",
        inputs=[],
        outputs=[folder / "model"],
        params={},
        facts={},
    )
    return folder


def write_dialogues(folder):
    """Training and dev dialogues of one exchange."""
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


def template_of(kind):
    """What tokenising has to know of a kind of model, as JSON."""
    return json.dumps({key: kind[key] for key in ("type", "template")})


def cache_command(folder, kind):
    """The command line that caches a folder's dialogues for a kind of model."""
    return program(
        "cache_dataset.py",
        *("--train", folder / "train.jsonl", "--dev", folder / "dev.jsonl"),
        *("--tokenizer", folder / "model", "--model", template_of(kind)),
        *("--settings", json.dumps({"max_length": 256})),
        *("--cached", folder / "cached", "--record", folder / "cache.json"),
    )


class Training:
    """One run of train_lora.py in a folder of its own."""

    def __init__(self, prepared, work, kind=KIND, **changes):
        self.work = work
        chosen = {**SETTINGS, **changes}
        settings = json.dumps(chosen)
        packs = json.dumps({key: chosen[key] for key in OF_PACKS})
        plan = program(
            "pack_stats.py",
            *("--cached", prepared / "cached", "--settings", packs),
            *("--lengths-figure", work / "l.svg", "--fill-figure", work / "f.svg"),
            *("--record", work / "plan.json"),
        )
        subprocess.run(plan, env=environment(), check=True, capture_output=True)
        self.planned = json.loads((work / "plan.json").read_text())["facts"]
        self.command = program(
            "train_lora.py",
            *("--run", "main", "--code", "x", "--settings", settings, "--quantizer", QUANTIZER),
            *("--cached", prepared / "cached", "--pack-stats", work / "plan.json"),
            *("--model", prepared / "model", "--model-kind", json.dumps(kind)),
            *("--made-by", prepared / "model.json", prepared / "cache.json"),
            *("--state-root", work / "state", "--adapter", work / "adapter"),
            *("--history", work / "history.csv", "--loss-figure", work / "loss.svg"),
            *("--record", work / "record.json"),
        )

    def step(self):
        """The last step that was written whole."""
        files = list(self.work.glob("state/*/steps.jsonl"))
        lines = (
            [line for line in files[0].read_text().split("\n") if line.endswith("}")]
            if files
            else []
        )
        return json.loads(lines[-1])["step"] if lines else 0

    def run(self):
        return subprocess.run(self.command, env=environment(), capture_output=True, text=True)

    def finish(self):
        done = self.run()
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def killed_after(self, step, meanwhile=None):
        """Run until a step is written; stop, do something `meanwhile`, kill -9 the whole process
        group; return what it printed.
        """
        with open(self.work / "log", "w") as log:
            running = subprocess.Popen(
                self.command, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
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
            "adapter": {
                path.name: path.read_bytes() for path in sorted((self.work / "adapter").iterdir())
            },
            "history": (self.work / "history.csv").read_text(),
            "facts": record,
        }
