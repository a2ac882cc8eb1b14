"""The faults of a chaos round: what each of them does to a chain that runs."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from chain import (
    TARGET,
    TRAINED,
    Chain,
)
from mindtune.records import remove

TARGETS = {
    "data": ["results/data/demo/split_dialogues.json", "results/base/fetch_model.json"],
    "training": [TRAINED],
    "export": [TARGET],
}


ADAPTER = "results/runs/main/adapter"


KEY = "key.pem"


DAY_S = 86400


def pick(made: Chain, rng: random.Random, pattern: str) -> Path | None:
    """A random file of the results or the state."""
    found = [
        path
        for name in ("results", "state")
        for path in sorted((made.work / name).rglob(pattern))
        if path.is_file()
    ]
    return rng.choice(found) if found else None


def kill_everything(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """As when the machine goes down."""
    found = made.processes()
    for line in [str(controller.pid), *found]:
        with suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGKILL)
    return "all processes" if found else ""


def signal_controller(
    number: signal.Signals,
) -> Callable[[Chain, subprocess.Popen, random.Random], str]:
    """A fault that sends a signal to Snakemake alone."""

    def strike(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
        if controller.poll() is not None:
            return ""
        controller.send_signal(number)
        return "Snakemake"

    return strike


def kill_job(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """kill -9 for one process of a job, as the system does when memory runs out."""
    found = [line for line in made.processes() if int(line.split()[0]) != controller.pid]
    if not found:
        return ""
    line = rng.choice(found)
    with suppress(ProcessLookupError):
        os.kill(int(line.split()[0]), signal.SIGKILL)
    return " ".join(Path(word).name for word in line.split()[1:4])


def start_again(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """A second person starts the same run."""
    done = made.run(*TARGETS["data"])
    return "refused" if done.returncode else "nothing left to do"


def jump_clock(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """Everything that is there already was written a day ago, or a day ahead."""
    days = rng.choice((-1, 1))
    for path in (made.work / "results").rglob("*"):
        with suppress(OSError):
            if path.is_file() and path.stat().st_nlink > 1:
                continue  # a hard link to the model that all rounds share
            os.utime(path, (time.time() + days * DAY_S,) * 2)
    return f"{days} day"


def tear_record(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down, and a JSON file is left half-written."""
    kill_everything(made, controller, rng)
    path = pick(made, rng, "*.json")
    if not path or "tokenizer" in path.parts or "model" in path.parts:
        return ""
    os.truncate(path, path.stat().st_size // 2)
    return str(path.relative_to(made.work))


def leave_partials(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down, and half-written files and folders are left beside where the outputs
    go.
    """
    kill_everything(made, controller, rng)
    for name in (
        "results/data/demo/clean.jsonl",
        "results/data/demo/raw",
        "results/base/model",
        "results/runs/main/adapter",
    ):
        partial = made.work / f"{name}.partial"
        partial.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)  # the job that was killed may have left its own
        if rng.random() < 0.5:
            partial.mkdir()
            partial = partial / "半"
        partial.write_text("半", encoding="utf-8")
    return "partial files"


def tear_checkpoint(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down while a checkpoint is written."""
    kill_everything(made, controller, rng)
    newest = max(
        (made.work / "state").rglob("checkpoint-*/*"),
        key=lambda path: path.stat().st_mtime_ns,
        default=None,
    )
    if newest is None:
        return ""
    os.truncate(newest, newest.stat().st_size // 2)
    return newest.name


def edit_configuration(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """Somebody prepares the next experiment in the files of the one that runs."""
    if controller.poll() is not None:
        return ""
    made.configure(
        train={"learning_rate": rng.choice((5e-3, 7e-5))},
        data={"clean": {"min_turns": 4}, "split": {"seed": 5}},
        export={"max_shard_size": "300KB"},
    )
    return "learning rate, cleaning, split and shards"


def delete_record(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down, and somebody tidies a stage's record away."""
    kill_everything(made, controller, rng)
    path = pick(made, rng, "*_*.json")
    if not path or not path.is_relative_to(made.work / "results") or "model" in path.parts:
        return ""
    path.unlink()
    return str(path.relative_to(made.work))


def flip_adapter(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The machine goes down, and a bit of the adapter is another one afterwards."""
    kill_everything(made, controller, rng)
    path = made.work / ADAPTER / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content) // 2, len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"byte {place}"


def lose_key(made: Chain, controller: subprocess.Popen, rng: random.Random) -> str:
    """The signer's key is taken away while the export is made."""
    (made.work / KEY).rename(made.work / "elsewhere.pem")
    return KEY


EDITED = "configuration edited"


FLIPPED = "adapter bit flipped"


KEYLESS = "key file missing"


ALWAYS = {
    "machine down": kill_everything,
    "kill -9 of Snakemake": signal_controller(signal.SIGKILL),
    "SIGTERM": signal_controller(signal.SIGTERM),
    "Ctrl-C": signal_controller(signal.SIGINT),
    "kill -9 of a job": kill_job,
    "torn record": tear_record,
    "partial files left": leave_partials,
    "second start": start_again,
    "clock jump": jump_clock,
    EDITED: edit_configuration,
    "record deleted": delete_record,
}


FAULTS = {
    "data": ALWAYS,
    "training": ALWAYS | {"torn checkpoint": tear_checkpoint},
    "export": ALWAYS | {FLIPPED: flip_adapter, KEYLESS: lose_key},
}
