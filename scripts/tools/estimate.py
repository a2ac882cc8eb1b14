"""Say how long a plan would take, by what its jobs, or jobs like them, took in this folder.

Reads the configuration, benchmarks/, pack_stats.json and the records of trainings. Writes nothing
and runs nothing.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.audit.dag import read_plan
from mindtune.audit.estimate import estimate_lines
from mindtune.audit.workdir import add_workdir, configured_by
from mindtune.cards import count_cards
from mindtune.cli import argument_parser, run
from mindtune.code import SCRIPTS


def main() -> None:
    parser = argument_parser(__doc__)
    add_workdir(parser)
    parser.add_argument("--cores", type=int, default=2, help="cores that jobs may use")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs; 0: those of this machine")
    parser.add_argument("--targets", nargs="+", default=["all"], help="what to make")
    args = parser.parse_args()
    files = configured_by(args.workdir, args.configfile)
    plan = read_plan(SCRIPTS.parent / "Snakefile", args.workdir, files, args.targets, args.cores)
    print("\n".join(estimate_lines(plan, args.cores, args.gpus or max(1, count_cards()))))


if __name__ == "__main__":
    raise SystemExit(run(main))
