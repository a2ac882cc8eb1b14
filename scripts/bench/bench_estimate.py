"""Is `make estimate` right? Estimate what a further run costs in a finished demo, run it, compare.

The further run has another seed, rank and number of epochs than those that ended. Told are the
minutes by the clock, which other work on the machine stretches, and the CPU minutes of the jobs,
by Snakemake's benchmark files, which it hardly does.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from measuring import command, head
from mindtune.audit.dag import Plan, read_plan
from mindtune.audit.estimate import CLOCK, CPU, estimates, span, took
from mindtune.cli import UserError, argument_parser, run
from mindtune.code import SCRIPTS
from mindtune.records import write_json

SNAKEFILE = SCRIPTS.parent / "Snakefile"
FURTHER = {"dataset": "demo", "seed": 44, "epochs": 2, "lora": {"rank": 16}}


def minutes(seconds: float) -> float:
    """Seconds as minutes with two decimals."""
    return round(seconds / 60, 2)


def forecast(plan: Plan, cores: int) -> tuple[dict[str, float], dict[str, float]]:
    """({clock: seconds, CPU: seconds} of a whole plan, {benchmark file: CPU seconds})."""
    found = {column: estimates(plan, column) for column in (CLOCK, CPU)}
    unknown = [e.job.name for e in found[CPU] if e.seconds is None]
    if unknown:
        raise UserError(f"nothing is known of {unknown[0]}; take a folder with a finished demo")
    jobs = {e.job.benchmark: e.seconds or 0.0 for e in found[CPU] if e.job.benchmark}
    return {CLOCK: span(plan, found[CLOCK], cores, 1), CPU: sum(jobs.values())}, jobs


def snakemake(files: list[Path], cores: int) -> float:
    """Run the workflow in the working directory; return the seconds by the clock."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--configfile",
        *map(str, files), "--cores", str(cores), "--resources", "mem_mb=4000", "--quiet", "all",
        "--", "all",
    ]  # fmt: skip
    begin = time.monotonic()
    if subprocess.run(command).returncode:
        raise UserError("the further run failed; its cause stands above")
    return time.monotonic() - begin


def compared(expected: float, measured: float) -> dict[str, float]:
    """Minutes of both, and by how many percent the estimate is off."""
    return {
        "estimated_minutes": minutes(expected),
        "measured_minutes": minutes(measured),
        "off_percent": round(100 * (expected / measured - 1), 1),
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--workdir", type=Path, required=True, help="of a finished demo")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    record, edit = args.record.resolve(), args.workdir.resolve() / "further.json"
    write_json(edit, {"runs": {"further": FURTHER}})
    files = [SCRIPTS.parent / "config/demo.yaml", edit]
    plan = read_plan(SNAKEFILE, args.workdir, files, ["all"], args.cores)
    expected, jobs = forecast(plan, args.cores)
    load = os.getloadavg()[0]
    clock = snakemake(files, args.cores)
    cpu = {path: took(Path(path), CPU) or 0.0 for path in jobs}
    training = "benchmarks/runs/further/train_lora.tsv"
    runs = [
        {"what": "all jobs, CPU minutes", **compared(expected[CPU], sum(cpu.values()))},
        {"what": "the training, CPU minutes", **compared(jobs[training], cpu[training])},
        {"what": "from begin to end, minutes by the clock", **compared(expected[CLOCK], clock)},
    ]
    write_json(
        record,
        head("what a further run takes, as estimated and as measured", command(), ["snakemake"])
        | {
            "runs": runs,
            "further": FURTHER,
            "jobs": len(jobs),
            "cores": args.cores,
            "load_before": round(load, 1),
            "note": f"{len(jobs)} jobs with a benchmark file; the load of the machine was "
            f"{load:.1f} on {os.cpu_count()} cores when it began. Other work stretches the clock, "
            "so the CPU minutes tell whether the scaling is right.",
        },
    )
    print(runs)


if __name__ == "__main__":
    raise SystemExit(run(main))
