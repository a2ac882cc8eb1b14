"""Print the CHART checklist of a working directory, each line linked to a record: `make chart`.

Reads   the records below results/
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.audit.folder import find_records
from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate.chart_checklist import checklist


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    args = parser.parse_args()
    records = find_records(args.workdir / "results")
    if not records:
        raise UserError(f"{args.workdir}/results has no record; run the workflow there first")
    named = {Path(path).relative_to(args.workdir).as_posix(): one for path, one in records.items()}
    print(checklist(named), end="")


if __name__ == "__main__":
    raise SystemExit(run(main))
