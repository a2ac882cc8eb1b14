"""Score the replies of base, tuned and baselines to a suite, item by item, by the function that
the suite names.

Reads   the suite's prompts, the replies of both models, the letters' likelihoods if there are any,
        and the files that the suite's scorer reads
Writes  the item scores as Parquet, from which tables, gates and figures are made, and a record
        whose counts add up: asked = right + wrong + unparsable + skipped
"""

import argparse
import importlib
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, argument_parser, run
from mindtune.data.hotlines import load_hotlines
from mindtune.evaluate.baselines import baseline_paths
from mindtune.evaluate.replay import check_replay
from mindtune.evaluate.scoring import (
    Suite,
    add_replies,
    add_scored,
    check_paired,
    read_by_id,
    read_replies,
)
from mindtune.provenance import hash_inputs, read_record
from mindtune.records import write_record

HOTLINES = "hotlines.yaml"


def skipped_ids(replies: Path, records: list[Path]) -> set[str]:
    """Ids that the record of a replies file lists as skipped."""
    for record in map(read_record, records):
        if replies.as_posix() in record["outputs"]:
            return {row["id"] for row in record["facts"]["skipped"]}
    raise UserError(f"{replies} is in none of the records given as --made-by; give its record")


def read_suite(args: argparse.Namespace) -> Suite:
    """Everything that a scorer gets, checked."""
    prompts = read_by_id(args.prompts)
    both = {"base": args.base, "tuned": args.tuned}
    paths = both | baseline_paths(args.baselines)
    replies = {model: read_replies(path, prompts, model) for model, path in paths.items()}
    skipped = {model: skipped_ids(path, args.made_by) for model, path in paths.items()}
    check_paired(replies, skipped, prompts)
    files = {path.name: path for path in args.reads}
    letters = zip(both, map(read_by_id, args.letters), strict=bool(args.letters))
    return Suite(
        prompts,
        replies,
        dict(letters),
        files,
        load_hotlines(files[HOTLINES]) if HOTLINES in files else None,
    )


def scored(args: argparse.Namespace) -> dict[str, Any]:
    """Write the item scores and return the facts of the record."""
    from mindtune.evaluate.compare import compare, system_values
    from mindtune.evaluate.items import read_items, write_items

    suite = read_suite(args)
    replay = {
        model: check_replay(model, letters, suite.replies[model])
        for model, letters in suite.letters.items()
    }
    scorer = importlib.import_module(f"mindtune.evaluate.scorers.{args.scorer}")
    rows, facts = scorer.score(suite)
    for model, count in facts["counts"].items():
        if count["asked"] != sum(count.values()) - count["asked"]:
            raise UserError(
                f"suite {args.suite}: the counts of {model} do not add up ({count}); report this"
            )
    about = {"suite": args.suite, "run": args.run}
    write_items(args.items, [about | row for row in rows], scorer.SIGNATURES)
    frame = read_items([args.items])
    found = {"suite": args.suite, "note": args.note, "replay": replay}
    return found | {"rows": system_values(frame), "paired": compare(frame)} | facts


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--run", required=True, help="the name of the tuned model's run")
    parser.add_argument("--scorer", required=True, help="a module in mindtune/evaluate/scorers")
    parser.add_argument("--note", default="", help="what a reader of the table should know")
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--letters", type=Path, nargs="*", default=[], help="of base and tuned")
    parser.add_argument("--reads", type=Path, nargs="*", default=[], help="files of the scorer")
    add_replies(parser)
    add_scored(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    replies = [args.base, args.tuned, *args.baselines]
    paths = [args.prompts, *replies, *args.letters, *args.reads]
    inputs = hash_inputs(paths, args.made_by)
    facts = scored(args)
    write_record(
        args.scores,
        "score_suite",
        inputs=inputs,
        outputs=[args.items],
        params={"suite": args.suite, "run": args.run, "scorer": args.scorer},
        facts=facts,
        packages=["numpy", "pyarrow", "scipy"],
    )
    for model, count in facts["counts"].items():
        print(f"{args.suite}, {model}: " + ", ".join(f"{key} {n}" for key, n in count.items()))


if __name__ == "__main__":
    raise SystemExit(run(main))
