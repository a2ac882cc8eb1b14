"""Say of everything that the records name whether it is as recorded: file by file, and exit status
0 only if all of it is.

Reads every record below results/ of the working directory, and hashes what they name. Also told:
records that an edit changed, results that were made from other inputs than are there now, and
files that no record names. Changes nothing but state/audit.json, in which it keeps what it read
with sizes and times, and state/audit.html, which the report and the lineage page show.

With --quick a file is not read again if its size and its times of change are those of the audit
before: this does not see a disk that rots, nor somebody who sets the clock back.

With --archive the archive of a run is looked over in the same way; nothing is unpacked.
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.audit.archived import look_over
from mindtune.audit.folder import WRONG, Finding, Hasher, audit, find_records
from mindtune.audit.last_audit import write_last_audit
from mindtune.audit.unpack import verified
from mindtune.cli import UserError, argument_parser, run
from mindtune.records import read_json, write_json

KNOWN = Path("state/audit.json")


def printed(text: str) -> str:
    """A path for a terminal: signs that move its cursor are written out."""
    return text if text.isprintable() else ascii(text)


def show(findings: list[Finding]) -> None:
    """One line a path, what is wrong last, and a sentence that counts."""
    for finding in sorted(findings, key=lambda finding: (finding.status in WRONG, finding)):
        why = f"  ({printed(finding.why)})" if finding.why else ""
        print(f"{finding.status:11}  {printed(finding.path)}{why}")
    count = Counter(finding.status for finding in findings)
    print(", ".join(f"{number} {status}" for status, number in sorted(count.items())))


def keep(found: dict[str, list[Any]], findings: list[Finding], quick: bool) -> None:
    """For the next --quick, and for the pages; somebody else's folder may not be written to."""
    try:
        write_json(KNOWN, found)
        write_last_audit(findings, quick)
    except OSError as error:
        print(
            f"{KNOWN.parent} cannot be written to ({error.strerror}): the next audit reads every "
            f"file again, and the report does not show this one"
        )


def refuse(findings: list[Finding]) -> None:
    """Stop with one sentence if something is not as recorded."""
    if wrong := [finding for finding in findings if finding.status in WRONG]:
        raise UserError(
            f"{len(wrong)} of {len(findings)} paths are not as recorded, {printed(wrong[0].path)} "
            f"first; put a changed or missing file back, or delete it with its record and run again"
        )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--workdir", type=Path, default=Path(), help="folder in which results/ lies"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="read only files whose size or times have changed since the last audit",
    )
    parser.add_argument("--archive", type=Path, help="look over this archive of a run instead")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if args.archive:
        findings = look_over(args.archive, verified(args.archive))
        show(findings)
        refuse(findings)
        return
    if not (args.workdir / "results").is_dir():
        raise UserError(
            f"{args.workdir / 'results'} is not there; give the folder in which results/ lies as "
            f"WORKDIR"
        )
    os.chdir(args.workdir)
    records = find_records()
    if not records:
        raise UserError(
            f"{args.workdir / 'results'} holds no record; make something first, or give another "
            f"WORKDIR"
        )
    hasher = Hasher(known=read_json(KNOWN) if args.quick and KNOWN.is_file() else {})
    findings = audit(records, hasher)
    keep(hasher.found, findings, args.quick)
    show(findings)
    if args.quick:
        print(
            f"read {hasher.read} of {len(hasher.found)} files; the others have the size and times "
            f"of the audit before"
        )
    refuse(findings)


if __name__ == "__main__":
    raise SystemExit(run(main))
