"""Make the tables and the figure of the evaluation from item scores alone.

Reads the item scores of all runs and suites (Parquet). Writes the long table as CSV (one row a run,
suite, system and metric), the readable tables as Markdown and LaTeX, a summary with one sentence a
suite, the list of everything that got worse, variants over their seeds as CSV, a forest plot as
SVG, and a record; prints the summary.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, argument_parser, run
from mindtune.provenance import add_made_by, hash_inputs, read_records
from mindtune.records import write_record, write_text

NOT_JUDGED = "\n## Professionalism, empathy, practicality\n\nnot judged: no endpoint configured\n"
WRITTEN = ("csv", "markdown", "latex", "summary", "worse", "seeds", "forest")


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
    parser.add_argument(
        "--variants",
        type=Path,
        required=True,
        help="JSON with params.variants, {run: {variant, seed}}: an earlier record, too",
    )
    for name in WRITTEN:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def read_variants(path: Path) -> dict[str, dict[str, Any]]:
    """{run: {"variant", "seed"}}; a record of an earlier version has none: a UserError."""
    found = json.loads(path.read_text(encoding="utf-8"))["params"].get("variants")
    if found is None:
        raise UserError(
            f"{path} does not say which runs differ by their seed alone, since an earlier version "
            f"wrote it; make the tables once by snakemake [your options] results/tables/seeds.csv"
        )
    return found


def main() -> None:
    args = parse_args()
    inputs = hash_inputs(args.items, args.made_by)
    variants = read_variants(args.variants)
    from mindtune.evaluate import tables
    from mindtune.evaluate.baseline_comparison import compare_baselines
    from mindtune.evaluate.compare import compare, system_values
    from mindtune.evaluate.forest import forest
    from mindtune.evaluate.items import read_items, read_signatures
    from mindtune.evaluate.seeds import seed_rows, seed_table
    from mindtune.evaluate.summary import plotted, summary, worse
    from mindtune.evaluate.wording import note_of, who_judged

    items, signatures = read_items(args.items), read_signatures(args.items)
    values, compared = system_values(items), compare(items)
    against = compare_baselines(items, compared)
    by_path = read_records(args.made_by)
    notes = {record["facts"]["suite"]: note_of(record["facts"]) for record in by_path.values()}
    judged = who_judged(by_path.values())
    long = tables.long_table(values, compared, signatures, against)
    over_seeds = seed_rows(compared, variants, tables.homes(values))
    said = summary(items, values, compared, over_seeds, against) + (judged or NOT_JUDGED)
    write_text(args.csv, long.to_csv(index=False, lineterminator="\n"))
    shown = tables.markdown(values, compared, signatures, notes)
    write_text(args.markdown, shown + ("" if judged else NOT_JUDGED))
    write_text(args.latex, tables.latex(values, compared, signatures, notes))
    write_text(args.summary, said)
    write_text(args.worse, worse(compared))
    write_text(args.seeds, seed_table(over_seeds).to_csv(index=False, lineterminator="\n"))
    write_text(args.forest, forest(plotted(compared)))
    write_record(
        args.record,
        "evaluation_table",
        inputs=inputs,
        outputs=[getattr(args, name) for name in WRITTEN],
        params={"variants": variants},
        facts={"rows": len(long), "suites": sorted(set(long["suite"]))},
        packages=["pandas", "pyarrow", "scipy", "tabulate"],
    )
    print(said)


if __name__ == "__main__":
    raise SystemExit(run(main))
