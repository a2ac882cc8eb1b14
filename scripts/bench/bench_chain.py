"""Run the user's command from fetch to report on this machine, and say what each rule took and
when a card computed.

Four parts: the whole chain by the literal command; a second start, which must find nothing to do;
the plan after another learning rate; and a training that is killed with -9 and goes on, beside two
undisturbed ones.

Reads   a configuration (config/config.yaml and what is laid over it)
Writes  a working directory of its own, and the record
"""

import argparse
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import head, tree
from mindtune.card_memory import card_memory
from mindtune.cli import UserError, argument_parser, run
from mindtune.records import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_MS = 500
HOLDS_CARD = re.compile(r"train_lora|replies/|letters/|verify_serving")
TRAINING = {"save_steps": 2, "logging_steps": 1, "batch_size": 1, "grad_accumulation": 2}
KILL_AFTER = 3  # steps: one more than the last checkpoint, so that a step is done twice


class CardSampler:
    """Use of the first card in percent, memory in MiB and power in watts twice a second; nothing
    where there is no card.
    """

    def __init__(self) -> None:
        self.samples: list[tuple[float, int, int, float]] = []
        self.child = None
        if shutil.which("nvidia-smi"):
            query = [
                "--query-gpu=utilization.gpu,memory.used,power.draw",
                "--format=csv,noheader,nounits",
                "--id=0",
            ]
            self.child = subprocess.Popen(
                ["nvidia-smi", *query, f"--loop-ms={SAMPLE_MS}"], stdout=subprocess.PIPE, text=True
            )
            threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        """Append a sample for each line until the child is ended."""
        for line in self.child.stdout:
            with suppress(ValueError):
                use, memory, watts = line.split(",")
                self.samples.append((time.time(), int(use), int(memory), float(watts)))

    def stop(self) -> None:
        """End the child."""
        if self.child:
            self.child.terminate()
            self.child.wait()

    def between(self, start: float, end: float) -> dict[str, float]:
        """Share of the time in which the card computed, and the mean power; empty without a
        card.
        """
        found = [sample for sample in self.samples if start <= sample[0] < end]
        if not found:
            return {}
        return {
            "computing": round(sum(use > 0 for _, use, _, _ in found) / len(found), 3),
            "mean_use": round(sum(use for _, use, _, _ in found) / len(found) / 100, 3),
            "watts": round(sum(watts for *_, watts in found) / len(found)),
        }

    def idle_stretches(self, start: float, end: float) -> list[tuple[float, float]]:
        """(start, end) of the times in which the card did not compute, the longest first."""
        stretches, since = [], None
        for at, use, _, _ in [*(s for s in self.samples if start <= s[0] < end), (end, 1, 0, 0.0)]:
            if use == 0:
                since = since or at
            elif since:
                stretches.append((since, at))
                since = None
        return sorted(stretches, key=lambda stretch: stretch[0] - stretch[1])


def snakemake(
    args: argparse.Namespace, *words: str, overlays: tuple[Path, ...] = ()
) -> subprocess.Popen:
    """Start the literal command in the working directory; its output goes to snakemake.log
    there.
    """
    files = [str(Path(file).resolve()) for file in (*args.configfile, *overlays)]
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory",
        str(args.workdir),
        "--cores", str(args.cores), *words, *(["--configfile", *files] if files else []),
    ]  # fmt: skip
    log = open(args.workdir / "snakemake.log", "ab")  # noqa: SIM115 - the child keeps it
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE if "-n" in words else log, stderr=log, text=True
    )


def finished(process: subprocess.Popen, what: str) -> str:
    """Wait for a start of Snakemake and return what it printed; a failure is a UserError."""
    output, _ = process.communicate()
    if process.returncode:
        raise UserError(
            f"{what} ended with status {process.returncode}; read snakemake.log in the working "
            f"directory"
        )
    return output or ""


def jobs(workdir: Path, began: float) -> list[dict[str, Any]]:
    """Start and end of each job, in seconds since the chain began, from the files that Snakemake
    writes at each job's end.
    """
    found = []
    for path in sorted((workdir / "benchmarks").rglob("*.tsv")):
        with open(path, encoding="utf-8") as stream:
            seconds = float(next(csv.DictReader(stream, delimiter="\t"))["s"])
        end = path.stat().st_mtime - began
        name = path.relative_to(workdir / "benchmarks").with_suffix("").as_posix()
        found.append({"job": name, "start": round(end - seconds, 1), "seconds": round(seconds, 1)})
    return sorted(found, key=lambda job: job["start"])


def chain(args: argparse.Namespace, sampler: CardSampler) -> dict[str, Any]:
    """The literal command: seconds, every job, and what the card did meanwhile."""
    began = time.time()
    finished(snakemake(args, args.target), "the chain")
    ended = time.time()
    rows = jobs(args.workdir, began)
    for job in rows:
        start = began + job["start"]
        job |= {"holds_card": bool(HOLDS_CARD.search(job["job"]))} | sampler.between(
            start, start + job["seconds"]
        )
    held = [job for job in rows if job["holds_card"]]
    idle = [
        {
            "start": round(start - began, 1),
            "seconds": round(end - start, 1),
            "running": [
                job["job"]
                for job in rows
                if job["start"] < end - began and job["start"] + job["seconds"] > start - began
            ],
        }
        for start, end in sampler.idle_stretches(began, ended)[:8]
    ]
    return {
        "target": args.target,
        "seconds": round(ended - began, 1),
        "jobs": rows,
        "card_held_seconds": round(sum(job["seconds"] for job in held), 1),
        "idle": idle,
        **sampler.between(began, ended),
    }


def planned(args: argparse.Namespace, *words: str, overlays: tuple[Path, ...] = ()) -> list[str]:
    """The rules that a plan names, sorted; none if there is nothing to do."""
    output = finished(snakemake(args, "-n", "--quiet", "host", *words, overlays=overlays), "a plan")
    return sorted(set(re.findall(r"^(?:local)?rule (\w+):", output, re.M)) - {"all"})


def write_overlay(args: argparse.Namespace, name: str, content: dict[str, Any]) -> Path:
    """A configuration to be laid over the others."""
    path = args.workdir / name
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


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


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--configfile", nargs="*", default=[], help="laid over config/config.yaml, in this order"
    )
    parser.add_argument("--dataset", required=True, help="the dataset of the run that is exported")
    parser.add_argument("--workdir", required=True, type=Path)
    parser.add_argument("--target", default="all")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument(
        "--parts", nargs="+", default=["chain", "plans", "kill"], choices=["chain", "plans", "kill"]
    )
    parser.add_argument(
        "--plan", action="store_true", help="print the rules that would run, and start nothing"
    )
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    args.workdir = args.workdir.resolve()
    args.workdir.mkdir(parents=True, exist_ok=True)
    if args.plan:
        print("\n".join(planned(args, args.target)))
        return
    if not card_memory():
        raise UserError(
            "this machine has no NVIDIA card (nvidia-smi lists none), and this check trains and "
            "serves on one; run it on a GPU node, or look at its plan: make h100-check PLAN=1"
        )
    sampler, facts = CardSampler(), {}
    try:
        if "chain" in args.parts:
            facts["chain"] = chain(args, sampler)
        if "plans" in args.parts:
            rate = write_overlay(args, "rate.yaml", {"train": {"learning_rate": 1.0e-4}})
            facts["again"] = planned(args, args.target)
            facts["other_learning_rate"] = planned(args, args.target, overlays=(rate,))
        if "kill" in args.parts:
            facts["kill"] = kill_and_resume(args, args.dataset)
    finally:
        sampler.stop()
        # what was measured before a failure stays
        write_json(
            args.record,
            head("The whole chain by the user's command", "make h100-check", ["snakemake"]) | facts,
        )


if __name__ == "__main__":
    raise SystemExit(run(main))
