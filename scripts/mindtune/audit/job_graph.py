"""Print Snakemake's own graph of jobs as JSON: each job's files, command and the jobs it needs.

Runs in the driver's environment and asks Snakemake's library, so no arrow is left out; the jobs
that a start still has to run are in it too.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])  # scripts/, where mindtune lies

from mindtune.audit.dag import built_dag, numbered  # noqa: E402
from mindtune.cli import argument_parser, run  # noqa: E402
from mindtune.records import to_json  # noqa: E402


def plain_job(job: Any, needs: list[int]) -> dict[str, Any]:
    """A job of Snakemake's in plain values; `needs` are the numbers of other jobs."""
    return {
        "rule": job.rule.name,
        "stage": Path(job.rule.snakefile).stem,
        "doc": " ".join((job.rule.docstring or "").split()),
        "wildcards": dict(sorted(job.wildcards_dict.items())),
        "inputs": sorted(map(str, job.input)),
        "outputs": sorted(map(str, job.output)),
        "logs": [str(path) for path in job.log],
        "benchmark": str(job.benchmark) if job.benchmark else None,
        "command": " ".join((job.shellcmd or "").split()),
        "needs": needs,
    }


def job_graph(dag: Any) -> list[dict[str, Any]]:
    """All jobs of a DAG, sorted by rule and wildcards."""
    number = numbered(dag)
    return [
        plain_job(job, sorted(number[other] for other in dag.dependencies[job])) for job in number
    ]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--snakefile", type=Path, required=True)
    parser.add_argument("--start", required=True, help="what the start wrote down")
    parser.add_argument("--targets", nargs="+", default=["all"])
    return parser.parse_args()


def main() -> None:
    args = parse()
    given = {"start": args.start}
    with built_dag(args.snakefile.resolve(), Path(), args.targets, config=given) as workflow:
        jobs = job_graph(workflow.dag)
    print(to_json(jobs, indent=None))


if __name__ == "__main__":
    raise SystemExit(run(main))
