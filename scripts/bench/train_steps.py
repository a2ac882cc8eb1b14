"""A training of some steps: cached data that fill them, and its end after the last of them."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from mindtune.records import write_record as write_stage_record
from mindtune.train.packing import packs, steps_per_epoch


def repeated(lengths: list[int], steps: int, settings: dict[str, Any]) -> list[int]:
    """Row numbers, repeated, that fill `steps` optimizer steps; `lengths` are the rows' tokens."""
    wanted = steps * settings["batch_size"] * settings["grad_accumulation"] * settings["gpus"]
    count = int(wanted * settings["max_length"] * len(lengths) / sum(lengths) * 1.02)
    rows = [number % len(lengths) for number in range(count)]
    while len(packs([lengths[row] for row in rows], settings["max_length"])) > wanted:
        del rows[-5:]
    return rows


def fill(
    cached: Path, target: Path, steps: int, dialogues: int | None, settings: dict[str, Any]
) -> None:
    """Write a cached data set of so many dialogues, or of as many as fill `steps` optimizer steps,
    repeated; and its plan.
    """
    import pandas
    from datasets import load_from_disk

    lengths = pandas.read_parquet(cached / "lengths.parquet")
    train = lengths[lengths.split == "train"]
    if dialogues:
        rows = [number % len(train) for number in range(dialogues)]
    else:
        rows = repeated(train.tokens.tolist(), steps, settings)
    load_from_disk(str(cached / "train")).select(rows).save_to_disk(str(target / "train"))
    load_from_disk(str(cached / "val")).save_to_disk(str(target / "val"))
    chosen = train.iloc[rows].reset_index(drop=True)
    chosen.to_parquet(target / "lengths.parquet", index=False)
    plan = packs(chosen.tokens.tolist(), settings["max_length"])
    shape = (settings[key] for key in ("batch_size", "grad_accumulation", "gpus"))
    planned = steps_per_epoch(len(plan), *shape)
    facts = {
        "steps": planned,
        "packs": len(plan),
        "rows": len(rows),
        "tokens": int(chosen.tokens.sum()),
    }
    write_stage_record(
        target.with_name("pack_stats.json"),
        "pack_stats",
        inputs=[target],
        outputs=[],
        params={},
        facts=facts,
    )


def until(process: subprocess.Popen[bytes], folder: Path, steps: int) -> None:
    """Wait until the training has ended or has taken so many steps, and end it then, with the
    trainer.
    """
    while process.poll() is None:
        time.sleep(0.2)
        if (
            sum(file.read_bytes().count(b"\n") for file in folder.glob("state/*/steps.jsonl"))
            >= steps
        ):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_to_steps(program: list[str], folder: Path, steps: int | None) -> tuple[float, int, str]:
    """Run a training, until so many steps are taken if that is given; return (seconds, exit status,
    what it printed).
    """
    started = time.monotonic()
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(program, stdout=log, stderr=log, start_new_session=True)
        if steps:
            until(process, folder, steps)
        process.wait()
    wall = time.monotonic() - started
    return wall, process.returncode, (folder / "log").read_text(encoding="utf-8")
