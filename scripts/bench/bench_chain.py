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
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.card_sampler import CardSampler
from bench.kill_resume import kill_and_resume
from bench.measuring import head
from bench.starts import finished, planned, snakemake, write_overlay
from mindtune.card_memory import card_memory
from mindtune.cli import UserError, argument_parser, run
from mindtune.records import write_json

HOLDS_CARD = re.compile(r"train_lora|replies|baselines|letters|conversations|verify_serving")


def jobs(workdir: Path, began: float) -> list[dict[str, Any]]:
    """Start and end of each job that ended since the chain began, in seconds, from the files that
    Snakemake writes at each job's end.
    """
    found = []
    for path in sorted((workdir / "benchmarks").rglob("*.tsv")):
        with open(path, encoding="utf-8") as stream:
            seconds = float(next(csv.DictReader(stream, delimiter="\t"))["s"])
        if (end := path.stat().st_mtime - began) < 0:
            continue  # of an earlier start
        name = path.relative_to(workdir / "benchmarks").with_suffix("").as_posix()
        found.append({"job": name, "start": round(end - seconds, 1), "seconds": round(seconds, 1)})
    return sorted(found, key=lambda job: job["start"])


def measured(workdir: Path, sampler: CardSampler, began: float, ended: float) -> dict[str, Any]:
    """Of a start of the chain: seconds, every job that ended, and what the card did meanwhile."""
    rows = jobs(workdir, began)
    for job in rows:
        start = began + job["start"]
        job |= {"holds_card": bool(HOLDS_CARD.search(job["job"]))} | sampler.between(
            start, start + job["seconds"]
        )
    held = [job for job in rows if job["holds_card"]]
    in_use = [job for job in held if "computing" in job]
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
        "seconds": round(ended - began, 1),
        "jobs": rows,
        "card_held_seconds": round(sum(job["seconds"] for job in held), 1),
        "card_computed_seconds_while_held": round(
            sum(job["seconds"] * job["computing"] for job in in_use), 1
        ),
        "idle": idle,
        **sampler.between(began, ended),
    }


def chain(args: argparse.Namespace, sampler: CardSampler, facts: dict[str, Any]) -> None:
    """The literal command; what is measured stands in the facts, also if it fails."""
    began = time.time()
    try:
        finished(snakemake(args, args.target), "the chain")
    finally:
        facts["chain"] = {"target": args.target} | measured(
            args.workdir, sampler, began, time.time()
        )


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
            chain(args, sampler, facts)
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
