"""Gather what a paper and a committee ask for of a run: methods paragraph, checklists, table of
claims, BibTeX, note on the EU AI Act, an appendix, and the archives that were made.

Reads the records, tables and benchmark files of a working directory. Writes a new folder.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.audit.folder import find_records
from mindtune.audit.paper import pages
from mindtune.cli import UserError, argument_parser, run
from mindtune.code import SCRIPTS
from mindtune.records import link_or_copy, partial_folder, write_text


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--workdir", type=Path, required=True, help="where results/ lies")
    parser.add_argument("--run", required=True, help="the run that the paper is about")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; not there yet")
    args = parser.parse_args()
    out = args.out.resolve()
    if out.exists():
        raise UserError(f"OUT is {args.out}, which is there already; give a new folder as OUT")
    if not (args.workdir / "results").is_dir():
        raise UserError(
            f"WORKDIR is {args.workdir}, which has no results/; give the folder in which it lies"
        )
    os.chdir(args.workdir)
    found = pages(find_records(), args.run)
    with partial_folder(out) as folder:
        for name, text in found.items():
            write_text(folder / name, text)
        for path in sorted(Path("results/archive").glob("*.zip")):
            link_or_copy(path, folder / path.name)
        link_or_copy(SCRIPTS.parent / "LICENSE", folder / "LICENSE")
    print(f"wrote {len(list(out.iterdir()))} files into {out}")


if __name__ == "__main__":
    raise SystemExit(run(main))
