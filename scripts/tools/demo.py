"""Run the whole chain on this machine's CPU in a working directory of its own, and show what came
out.

Reads   config/demo.yaml or config/demo-smollm2.yaml, and the user's own dialogues if given
Writes  the working directory (results/, state/, logs/, benchmarks/, .cache/); nothing else
"""

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.records import write_json
from mindtune.strict_yaml import read_strictly

ROOT = Path(__file__).resolve().parents[2]
TIERS = {"tiny": "config/demo.yaml", "smollm2": "config/demo-smollm2.yaml"}
# Two trainings side by side stay below 4 GB
MEMORY_MB = 4000


def snakemake_command(
    tier: str, data: Path | None, workdir: Path, cores: int, target: str, replace: str
) -> list[str]:
    """The Snakemake call; for somebody's own data with a configuration in the working directory:
    theirs, and run `main` alone.
    """
    config_file = ROOT / TIERS[tier]
    if data:
        config = read_strictly(config_file)
        config["datasets"] = {
            "demo": {"source": "local", "path": str(data.resolve()), "licence": "unknown"}
        }
        config["data"]["accept_unlicensed"] = ["demo"]
        config["runs"] = {"main": config["runs"]["main"]}
        config_file = workdir / "config.json"
        write_json(config_file, config)
    return [
        sys.executable, "-m", "snakemake",
        "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(workdir),
        "--configfile", str(config_file),
        "--cores", str(cores),
        "--resources", f"mem_mb={MEMORY_MB}",
        "--rerun-incomplete",
        *(["--config", f"replace={replace}"] if replace else []),
        "--", target,
    ]  # fmt: skip


def stage_times(benchmarks: Path) -> list[tuple[str, float, float]]:
    """(stage, seconds, MB at its peak) of every benchmark file, in the order in which the stages
    ended.
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv"), key=lambda path: path.stat().st_mtime):
        with open(path, encoding="utf-8") as stream:
            last = list(csv.DictReader(stream, delimiter="\t"))[-1]
        memory = last["max_rss"]
        rows.append(
            (
                path.relative_to(benchmarks).with_suffix("").as_posix(),
                float(last["s"]),
                0.0 if memory in ("-", "NA") else float(memory),
            )
        )
    return rows


def show(workdir: Path, tier: str, seconds: float) -> None:
    """Print the evaluation table, where the export lies, and the time of each stage."""
    print((workdir / "results/tables/evaluation.md").read_text(encoding="utf-8"))
    if tier == "tiny":
        print(
            "The base model is a toy, taught for some seconds: the table shows that the chain "
            "works, not how well a model counsels.\n"
        )
    for stage, took, memory in stage_times(workdir / "benchmarks"):
        print(f"{took:8.1f} s  {memory:7.0f} MB  {stage}")
    print(f"{seconds:8.1f} s  in all\n")
    print(f"export: {workdir / 'results/export'}")
    print(f"report: {workdir / 'results/report/report.html'}")
    print(f"lineage: {workdir / 'results/report/lineage.html'}")


def parse_args() -> argparse.Namespace:
    """Command line; what does not fit is a UserError."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="tiny or smollm2")
    parser.add_argument(
        "--data", default="", help="a file or folder of dialogues; empty: the project's own samples"
    )
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument(
        "--replace",
        default="",
        help="what of another demo in that folder may be replaced: model, data or all",
    )
    parser.add_argument("--target", default="all", help="what to make; the table is shown for all")
    args = parser.parse_args()
    if args.model not in TIERS:
        raise UserError(
            f"MODEL is {args.model!r} and should be one of {', '.join(TIERS)}; give one of them"
        )
    if args.data and not Path(args.data).exists():
        raise UserError(
            f"DATA is {args.data}, which does not exist; give the path of a file of dialogues "
            f"(JSONL, JSON or Parquet)"
        )
    if (ROOT / "results").resolve() == (args.workdir / "results").resolve():
        raise UserError(
            f"WORKDIR is {args.workdir}, where the real results lie; give a folder of its own"
        )
    return args


def main() -> None:
    args = parse_args()
    data = Path(args.data) if args.data else None
    args.workdir.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    done = subprocess.run(
        snakemake_command(args.model, data, args.workdir, args.cores, args.target, args.replace)
    )
    if done.returncode != 0:
        raise UserError(
            f"Snakemake ended with status {done.returncode}; the cause stands above and in the log "
            f"that it names"
        )
    if args.target == "all":
        show(args.workdir, args.model, time.monotonic() - start)


if __name__ == "__main__":
    raise SystemExit(run(main))
