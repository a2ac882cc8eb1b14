"""Make the tables and the figure of the evaluation from item scores alone.

Reads the item scores of all runs and suites (Parquet). Writes the long table as CSV (one row a run,
suite, system and metric), the readable tables as Markdown and LaTeX, a summary with one sentence a
suite, the list of everything that got worse, a forest plot as SVG, and a record; prints the
summary.
"""

import argparse
from pathlib import Path

from mindtune.cli import argument_parser, run
from mindtune.provenance import add_made_by, hash_inputs, read_records
from mindtune.records import write_record, write_text

WRITTEN = ("csv", "markdown", "latex", "summary", "worse", "forest")


def parse_args() -> argparse.Namespace:
    parser = argument_parser(__doc__, fromfile_prefix_chars="@")
    parser.add_argument(
        "--items",
        type=Path,
        nargs="+",
        required=True,
        help="item scores; @FILE: one a line in FILE",
    )
    add_made_by(parser)
    for name in WRITTEN:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    inputs = hash_inputs(args.items, args.made_by)
    from mindtune.evaluate import tables
    from mindtune.evaluate.compare import compare, system_values
    from mindtune.evaluate.forest import forest
    from mindtune.evaluate.items import read_items, read_signatures
    from mindtune.evaluate.summary import plotted, summary, worse
    from mindtune.evaluate.wording import note_of

    items, signatures = read_items(args.items), read_signatures(args.items)
    values, compared = system_values(items), compare(items)
    said_of = (record["facts"] for record in read_records(args.made_by).values())
    notes = {facts["suite"]: note_of(facts) for facts in said_of}
    long = tables.long_table(values, compared, signatures)
    said = summary(items, values, compared)
    write_text(args.csv, long.to_csv(index=False, lineterminator="\n"))
    write_text(args.markdown, tables.markdown(values, compared, signatures, notes))
    write_text(args.latex, tables.latex(values, compared, signatures, notes))
    write_text(args.summary, said)
    write_text(args.worse, worse(compared))
    write_text(args.forest, forest(plotted(compared)))
    write_record(
        args.record,
        "evaluation_table",
        inputs=inputs,
        outputs=[getattr(args, name) for name in WRITTEN],
        params={},
        facts={"rows": len(long), "suites": sorted(set(long["suite"]))},
        packages=["pandas", "pyarrow", "scipy", "tabulate"],
    )
    print(said)


if __name__ == "__main__":
    raise SystemExit(run(main))
