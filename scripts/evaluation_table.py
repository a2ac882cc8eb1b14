"""Put the scores of all runs and suites into one table: base, tuned, their difference, floors and
n.

Reads scores records with the names of their runs. Writes the long table as CSV (one row per run,
suite, system and metric), the readable tables as Markdown and LaTeX, and a record; prints the
Markdown.
"""

import argparse
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, run
from mindtune.provenance import read_record
from mindtune.records import write_record, write_text


def read_scores(paths: list[Path], runs: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """The (run, facts) pairs of scores records."""
    if len(paths) != len(runs):
        raise UserError(
            f"{len(paths)} --scores but {len(runs)} --runs: give each scores file the name of its "
            f"run"
        )
    scores: list[tuple[str, dict[str, Any]]] = []
    for path, name in zip(paths, runs, strict=True):
        facts = read_record(path)["facts"]
        missing = [key for key in ("suite", "rows", "paired") if key not in facts]
        if missing:
            raise UserError(
                f"{path} is no scores record: facts.{missing[0]} is missing; delete it and score "
                f"again"
            )
        if (name, facts["suite"]) in [(other, found["suite"]) for other, found in scores]:
            raise UserError(
                f"{path}: run {name} already has scores of the suite {facts['suite']}; give each "
                f"suite once"
            )
        scores.append((name, facts))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        required=True,
        help="scores records; @FILE: one a line in FILE",
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        required=True,
        help="the run of each scores record, in the same order; or @FILE",
    )
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--latex", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()

    scores = read_scores(args.scores, args.runs)
    from mindtune.evaluate import tables

    long = tables.long_table(scores)
    readable = tables.markdown(long)
    write_text(args.csv, long.to_csv(index=False, lineterminator="\n"))
    write_text(args.markdown, readable)
    write_text(args.latex, tables.latex(long))
    write_record(
        args.record,
        "evaluation_table",
        inputs=args.scores,
        outputs=[args.csv, args.markdown, args.latex],
        params={"runs": args.runs},
        facts={"rows": len(long), "suites": sorted(set(long["suite"]))},
        packages=["pandas", "tabulate"],
    )
    print(readable)


if __name__ == "__main__":
    raise SystemExit(run(main))
