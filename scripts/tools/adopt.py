"""Take up results that were copied without Snakemake's own folder (.snakemake), so that a plan
compares them with the configuration as where they were made, and makes nothing anew.

First everything is hashed and compared with its record, as `make audit` does: one file that is not
as recorded, and nothing is taken up. Then Snakemake's knowledge of how each result was made, which
lies beside the results, goes where Snakemake looks for it, and all results get one time of change.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.audit.folder import WRONG, Hasher, audit, find_records
from mindtune.audit.starts import STAGE as START
from mindtune.cli import UserError, argument_parser, run
from mindtune.made import KEPT, not_kept, read_made, restore
from mindtune.provenance import Record


def check(records: Mapping[str, Record]) -> None:
    """Every result is as its record says, or a UserError that names one which is not."""
    wrong = [finding for finding in audit(records, Hasher()) if finding.status in WRONG]
    if wrong:
        raise UserError(
            f"{wrong[0].path} is {wrong[0].status} ({wrong[0].why}), and {len(wrong)} in all are "
            f"not as recorded: nothing is taken up; copy it again, or delete it with its record"
        )


def check_known(records: Mapping[str, Record], made: Mapping[str, object]) -> None:
    """How every result was made is known, or a UserError that names one of which it is not."""
    outputs = {path: name for name, record in records.items() for path in record["outputs"]}
    outputs |= {name: name for name in records}
    there = {path: name for path, name in outputs.items() if os.path.exists(path)}
    if unknown := not_kept(there, made):
        raise UserError(
            f"{KEPT} does not say how {unknown[0]} was made, nor {len(unknown) - 1} more: it was "
            f"not copied, or the start that made them was killed; copy it too, or delete them"
        )


def same_times(folder: Path) -> None:
    """Give everything in a folder one time, so that no copy looks newer than what was made of
    it.
    """
    now = time.time()
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (now, now), follow_symlinks=False)


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--workdir", type=Path, default=Path(), help="folder in which results/ lies"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not (args.workdir / "results").is_dir():
        raise UserError(
            f"{args.workdir / 'results'} is not there; give the folder in which results/ lies as "
            f"WORKDIR"
        )
    os.chdir(args.workdir)
    records, made = find_records(), read_made()
    check(records)
    # no rule makes the record of a start
    records = {name: record for name, record in records.items() if record["stage"] != START}
    check_known(records, made)
    restore(made)
    same_times(Path("results"))
    print(f"took up {len(made)} results of {len(records)} stages; snakemake -n says what is left")


if __name__ == "__main__":
    raise SystemExit(run(main))
