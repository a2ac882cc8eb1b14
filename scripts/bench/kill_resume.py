"""A training that is killed with -9 and goes on, beside two undisturbed ones."""

import argparse
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from bench.measuring import tree
from bench.starts import finished, snakemake, write_overlay
from mindtune.records import read_json

TRAINING = {"save_steps": 2, "logging_steps": 1, "batch_size": 1, "grad_accumulation": 2}


KILL_AFTER = 3  # steps: one more than the last checkpoint, so that a step is done twice


def steps_of(workdir: Path, name: str) -> list[dict[str, Any]]:
    """The observer's lines of a run, a repeated step as often as it was done."""
    return [
        yaml.safe_load(line)
        for file in sorted((workdir / "state/train" / name).glob("*/steps.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]


def kill_training(process: subprocess.Popen, workdir: Path, name: str) -> None:
    """Wait for some steps, then end the training's program and its trainer with -9."""
    while process.poll() is None and len(steps_of(workdir, name)) < KILL_AFTER:
        time.sleep(0.2)
    for pid in tree(process.pid):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if (
                b"train_lora.py" in words
                and b"--adapter" in words
                and not words.startswith(b"/bin/")
                or b"swift" in words
            ):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def kill_and_resume(args: argparse.Namespace, dataset: str) -> dict[str, Any]:
    """Losses of a training that was killed and went on, beside two undisturbed ones."""
    runs = {name: {"dataset": dataset, **TRAINING} for name in ("killed", "whole", "again")}
    overlay = write_overlay(args, "kill.yaml", {"runs": runs})
    target = "results/runs/{}/train_lora.json"
    kill_training(
        snakemake(args, target.format("killed"), overlays=(overlay,)), args.workdir, "killed"
    )
    before = steps_of(args.workdir, "killed")
    for name in runs:
        finished(snakemake(args, target.format(name), overlays=(overlay,)), f"the training {name}")
    losses = {name: [line["loss"] for line in steps_of(args.workdir, name)] for name in runs}
    done = steps_of(args.workdir, "killed")
    repeated = [line["step"] for line in done[len(before) :] if line["step"] <= before[-1]["step"]]
    first, second = losses["whole"], losses["again"]
    outputs = {name: read_json(args.workdir / target.format(name))["outputs"] for name in runs}
    return {
        "killed_after_step": before[-1]["step"],
        "repeated_steps": repeated,
        "repeated_losses": {
            str(step): [line["loss"] for line in done if line["step"] == step]
            for step in sorted(set(repeated))
        },
        "losses": losses,
        "two_undisturbed_differ_by": max(abs(a - b) for a, b in zip(first, second, strict=True)),
        "adapter_sha256": {name: next(iter(found.values())) for name, found in outputs.items()},
    }
