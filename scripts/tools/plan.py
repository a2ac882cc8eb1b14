"""Say what would run, and why: by the settings, code and files that changed since the last run.

Reads the configuration, what Snakemake stored of the last run and benchmarks/. Writes nothing and
runs nothing.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.audit.dag import read_plan
from mindtune.audit.plan_text import plan_lines
from mindtune.audit.settings_changed import read_starts
from mindtune.audit.workdir import add_workdir, configured_by
from mindtune.cli import argument_parser, run
from mindtune.code import SCRIPTS


def main() -> None:
    parser = argument_parser(__doc__)
    add_workdir(parser)
    parser.add_argument("--targets", nargs="+", default=["all"], help="what to make")
    args = parser.parse_args()
    files = configured_by(args.workdir, args.configfile)
    plan = read_plan(SCRIPTS.parent / "Snakefile", args.workdir, files, args.targets)
    print("\n".join(plan_lines(plan, read_starts())))


if __name__ == "__main__":
    raise SystemExit(run(main))
