"""Write one self-contained HTML page about a run: the evaluation, replies side by side, what was
done, the figures, the hashes.

Reads stage records, images (PNG or SVG), Markdown tables and replies to dialogues. The page has no
script and refers to nothing but the last audit and the lineage page beside it, and says so to the
browser; all text from data and models is escaped.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.audit.pairs import reply_pairs
from mindtune.audit.report import render
from mindtune.choice import add_choice, chosen_run
from mindtune.cli import UserError, argument_parser, run
from mindtune.provenance import add_records, check_chain, hash_inputs, read_records
from mindtune.records import sha256_path, write_hashed_record, write_text


def shown(records: Mapping[str, Mapping[str, Any]], files: Sequence[Path]) -> dict[str, str]:
    """{path: SHA-256} of the figures and tables on the page; one that a record given here names
    must be as its stage made it.
    """
    names = {path.as_posix() for path in files}
    return hash_inputs(
        files, [Path(path) for path, record in records.items() if names & record["outputs"].keys()]
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__, fromfile_prefix_chars="@")
    add_records(parser)
    parser.add_argument(
        "--images", type=Path, nargs="*", default=[], help="figures, PNG or SVG; or @FILE"
    )
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="tables, Markdown")
    for model in ("base", "tuned"):
        parser.add_argument(
            f"--{model}", type=Path, nargs="*", default=[], help=f"replies of {model} to dialogues"
        )
    add_choice(parser)
    parser.add_argument("--seed", type=int, default=0, help="which replies the page shows")
    parser.add_argument("--title", required=True)
    parser.add_argument("--report", type=Path, required=True, help="the HTML page to write")
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    args = parse()
    records = read_records(args.records)
    check_chain(records)
    name = chosen_run(args)
    tuned = [path for path in args.tuned if path.parent.parent.name == name]
    if len(tuned) != len(args.base):
        raise UserError(
            f"--tuned has {len(tuned)} files of run {name!r}, and --base {len(args.base)}; name "
            f"the run, and give replies of both models to the same suites"
        )
    inputs = shown(records, [*args.images, *args.tables, *args.base, *tuned])
    tables = [path.read_text(encoding="utf-8") for path in args.tables]
    pairs = reply_pairs(args.base, tuned, args.seed)
    page = render(args.title, records, args.images, tables, pairs)
    write_text(args.report, page)
    write_hashed_record(
        args.record,
        "write_report",
        inputs=inputs | {path: sha256_path(path) for path in records},
        outputs={args.report.as_posix(): sha256_path(args.report)},
        params={"title": args.title, "seed": args.seed, "run": name},
        facts={"stages": len(records), "images": len(args.images)}
        | {"tables": len(args.tables), "pairs": len(pairs)},
        packages=["jinja2", "markdown-it-py"],
    )
    print(
        f"wrote {args.report}: {len(records)} stages, {len(args.images)} figures, "
        f"{len(page.encode()) / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
