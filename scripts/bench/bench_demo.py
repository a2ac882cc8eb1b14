"""Measure `make demo` and write docs/records/demo.json; or put a finished demo's counts into
docs/records/real-input.json.

`demo` runs the demo anew in a working directory of its own: warm (environments there), once more
(nothing to be done), and cold (no environments and no cache of packages), and samples the memory
of the whole process tree. `counts` reads the records of finished demos on somebody's own data.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import head, timed
from mindtune.cli import argument_parser, run
from mindtune.records import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {"cold": 720, "warm": 240, "again": 15}
MEMORY_GB = 4.0
NOTE = (
    "Through the demo's configuration (packs of 768 tokens, the toy as base): the counts are "
    "exact, the scores are a toy's."
)


def record(
    what: str, command: str, runs: list[dict[str, Any]], target: Any, met: bool, note: str
) -> dict[str, Any]:
    """A measurement record as scripts/tools/write_measurements.py reads it."""
    return {
        **head(what, command, ["snakemake"]),
        "runs": runs,
        "columns": list(runs[0]),
        "target": target,
        "met": met,
        "note": note,
    }


def run_demo(kind: str, scratch: Path) -> dict[str, Any]:
    """One demo: `cold` builds its own environments, the others use those that are there."""
    environment = {
        "MINDTUNE_VENVS": str(scratch / "venvs"),
        "UV_CACHE_DIR": str(scratch / "uv"),
        "UV_NO_CACHE": "1",
    }
    work = scratch / ("cold" if kind == "cold" else "warm")
    took = timed(
        ["make", "-C", ROOT, "demo", f"WORKDIR={work}"], **(environment if kind == "cold" else {})
    )
    return {
        "run": kind,
        "seconds": round(took["s"], 1),
        "target seconds": TARGETS[kind],
        "peak GB": round(took["gb"], 2),
    }


def measure_demo(args: argparse.Namespace) -> None:
    """Warm, repeated and cold demo, in a scratch folder that is removed afterwards; warm needs
    environments that are built.
    """
    scratch = args.scratch.resolve()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    what, how = "The demo", "scripts/bench/bench_demo.py demo"
    target = {**TARGETS, "peak GB": MEMORY_GB}
    note = (
        "cold: environments are downloaded and built anew, the driver environment is there; "
        "memory is the proportional set size of the process tree."
    )
    runs: list[dict[str, Any]] = []
    for kind in ("warm", "again", "cold"):
        runs.append(run_demo(kind, scratch))
        # after each run, so that one that is cut short leaves the others' figures
        met = all(
            row["seconds"] <= row["target seconds"] and row["peak GB"] <= MEMORY_GB for row in runs
        )
        write_json(args.out, record(what, how, runs, target, met, note))
    shutil.rmtree(scratch)


def score(facts: dict[str, Any], system: str, metric: str) -> str:
    """A score on Chinese replies with its interval, which few dialogues have none of."""
    wanted = (system, metric, "zh")
    row = next(r for r in facts["rows"] if (r["model"], r["metric"], r["stratum"]) == wanted)
    bounds = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['value']:.2f}{bounds}"


def counts(args: argparse.Namespace) -> None:
    """What became of the rows of each finished demo."""
    table: dict[str, dict[str, Any]] = {}
    for name, folder in (item.split("=", 1) for item in args.demos):
        results = Path(folder) / "results"
        clean = read_json(results / "data/demo/clean_dialogues.json")["facts"]
        packed = read_json(results / "runs/main/pack_stats.json")["facts"]
        row = {key: clean[key] for key in ("read", "kept", "rejected")} | {
            "rejected by reason": clean["rejected_by_reason"]
        }
        row |= {
            "train " + key: packed[key]
            for key in ("rows", "tokens", "trained_tokens", "packs", "steps")
        }
        scores = results / "runs/main/scores/dialogue.json"
        if (
            scores.is_file()
        ):  # a demo that went no further than its packing statistics still has its counts
            facts = read_json(scores)["facts"]
            for metric in ("BLEU", "ROUGE-L"):
                row |= {
                    f"{metric} {system}": score(facts, system, metric)
                    for system in ("base", "tuned")
                }
        for key, value in row.items():
            table.setdefault(key, {"figure": key})[name] = value
    note = f"{NOTE} {args.note}".strip()
    write_json(
        args.out,
        record(
            "Real input",
            "make demo DATA=FILE.jsonl WORKDIR=DIR",
            list(table.values()),
            None,
            True,
            note,
        ),
    )


def main() -> None:
    parser = argument_parser(__doc__)
    commands = parser.add_subparsers(required=True)
    demo = commands.add_parser("demo")
    demo.add_argument("--scratch", type=Path, default=ROOT / "demo-bench")
    demo.add_argument("--out", type=Path, default=ROOT / "docs/records/demo.json")
    demo.set_defaults(run=measure_demo)
    real = commands.add_parser("counts")
    real.add_argument("demos", nargs="+", metavar="NAME=WORKDIR")
    real.add_argument("--out", type=Path, default=ROOT / "docs/records/real-input.json")
    real.add_argument("--note", default="", help="what a reader must know of these demos")
    real.set_defaults(run=counts)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    raise SystemExit(run(main))
