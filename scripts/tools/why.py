"""Say why one file would be made again, or that it would not, and when it was made from what.

Reads the configuration, what Snakemake stored of the last run and benchmarks/. Writes nothing and
runs nothing.
"""

import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.audit.dag import read_plan
from mindtune.audit.plan_text import why_lines
from mindtune.audit.settings_changed import read_starts
from mindtune.audit.workdir import add_workdir, below, configured_by
from mindtune.cli import UserError, argument_parser, run
from mindtune.code import SCRIPTS


def main() -> None:
    parser = argument_parser(__doc__)
    add_workdir(parser)
    parser.add_argument("--file", required=True, help="a file or folder below results/")
    args = parser.parse_args()
    files = configured_by(args.workdir, args.configfile)
    path = below(args.workdir, args.file)
    plan = read_plan(SCRIPTS.parent / "Snakefile", args.workdir, files, ["all"])
    if plan.maker(path) is None and path.startswith("results/"):
        with suppress(UserError):  # one that is made only if it is asked for by name
            plan = read_plan(SCRIPTS.parent / "Snakefile", Path(), files, [path])
    print("\n".join(why_lines(plan, path, read_starts())))


if __name__ == "__main__":
    raise SystemExit(run(main))
