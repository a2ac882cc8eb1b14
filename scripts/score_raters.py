"""Score the sheets that raters filled in: how far they agree, beside the judge, and what they found
in base and tuned.

Reads   the sheets (CSV, as the page exports it or a spreadsheet saved it), the key of the sheet,
        and item scores of a judge if there are any
Writes  the long table as CSV, the readable one as Markdown, what most raters said of each reply
        (JSONL, for judge.people), and a record
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate import raters
from mindtune.evaluate.sheet_reading import read_sheets
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import read_json, sha256_file, write_jsonl, write_record, write_text


def read_key(path: Path) -> dict[str, Any]:
    """The key of a sheet, as blind_sheet.py wrote it; replies of its run that are here are still
    those that people read.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; it is the key that make blind-sheet wrote: give it")
    key = read_json(path)
    if not isinstance(key, dict) or "hidden" not in key:
        raise UserError(f"{path} is no key of a rating sheet; give the key.json beside send/")
    for name, digest in key["replies"].items():
        if Path(name).is_file() and sha256_file(name) != digest:
            raise UserError(
                f"{name} was made again since the sheet {key['sheet']} was written: people rated "
                f"other replies; write a new sheet (make blind-sheet), or score this one in the "
                f"working directory that it is of"
            )
    return key


def sheet_files(paths: Sequence[Path]) -> list[Path]:
    """The files given, and in place of a folder its CSV files, sorted."""
    found: list[Path] = []
    for path in paths:
        files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise UserError(f"{path} is no CSV file and no folder with one; correct SHEETS")
        found += files
    return found


def parse_args() -> argparse.Namespace:
    flags = argument_parser(__doc__, fromfile_prefix_chars="@")
    flags.add_argument(
        "--sheets", required=True, type=Path, nargs="+", help="one a rater, or folders of them"
    )
    flags.add_argument("--key", required=True, type=Path, help="the sheet's key.json")
    flags.add_argument("--items", type=Path, nargs="*", default=[], help="item scores, judges' too")
    add_made_by(flags)
    for name in ("csv", "markdown", "answers", "record"):
        flags.add_argument(f"--{name}", required=True, type=Path)
    return flags.parse_args()


def main() -> None:
    args = parse_args()
    key = read_key(args.key)
    files = sheet_files(args.sheets)
    sheets = read_sheets(files, key)
    judges = raters.read_verdicts(args.items, key) if args.items else {}
    inputs = hash_inputs([args.key, *files, *args.items], args.made_by)
    found = raters.table(key, sheets, judges)
    write_text(args.csv, found.to_csv(index=False, lineterminator="\n"))
    write_text(args.markdown, raters.markdown(found, key, sorted(judges)))
    write_jsonl(args.answers, raters.majority(key, sheets))
    facts = {
        "sheet": key["sheet"],
        "raters": [sheet.rater for sheet in sheets],
        "reordered": [sheet.rater for sheet in sheets if sheet.reordered],
        "replies": len(key["hidden"]),
        "judges": sorted(judges),
        "agreement": found[found["who"] != raters.RATES].to_dict("records"),
    }
    write_record(
        args.record,
        "score_raters",
        inputs=inputs,
        outputs=[args.csv, args.markdown, args.answers],
        params={"run": key["run"]},
        facts=facts,
        packages=["numpy", "pandas", "scipy", "tabulate"],
    )
    print(raters.markdown(found, key, sorted(judges)))


if __name__ == "__main__":
    raise SystemExit(run(main))
