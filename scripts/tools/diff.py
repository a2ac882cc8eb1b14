"""Say what differs between two runs, or two archives: settings, data, code, packages, numbers.

Reads records only: below results/ of the working directory, or in the archives. Writes nothing.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.audit.difference import difference, side
from mindtune.cli import UserError, argument_parser, run


def main() -> None:
    parser = argument_parser(__doc__)
    for name in ("a", "b"):
        parser.add_argument(f"--{name}", required=True, help="a run's name, or an archive's file")
    parser.add_argument(
        "--workdir", type=Path, default=Path(), help="folder in which results/ of the runs lies"
    )
    args = parser.parse_args()
    given = [os.path.abspath(one) if Path(one).is_file() else one for one in (args.a, args.b)]
    if not args.workdir.is_dir():
        raise UserError(f"WORKDIR is {str(args.workdir)!r}, which is no folder; give another one")
    os.chdir(args.workdir)
    print("\n".join(difference(*map(side, given))))


if __name__ == "__main__":
    raise SystemExit(run(main))
