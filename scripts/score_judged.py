"""Score a rubric for base and tuned from the answers that judges gave, without asking anybody.

Reads   the answers file (every request and raw answer, whose hashes are checked), the rubric,
        people's answers if there are any
Writes  the item scores as Parquet, from which tables, gates and figures are made, and a record
        whose counts add up: asked = judged + failed
"""

import argparse
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate.judged_scores import Scores, counts, score, signatures
from mindtune.evaluate.rubrics import read_rubric
from mindtune.evaluate.scoring import add_scored
from mindtune.provenance import hash_inputs, read_records
from mindtune.records import read_jsonl, write_record


def read_scores(args: argparse.Namespace) -> Scores:
    """What the answers file says of the rubric and the run."""
    rubric = read_rubric(args.rubric, args.root)
    return score(read_jsonl(args.answers), rubric, args.run, args.dataset, args.answers.as_posix())


def judging(made_by: list[Path]) -> dict[str, Any]:
    """The facts of the record of the judging, if it is among the records."""
    for record in read_records(made_by).values():
        if record["stage"] == "judge_replies":
            return record["facts"]
    return {"judges": {}}


def written(args: argparse.Namespace, found: Scores) -> dict[str, Any]:
    """Write the item scores; what they say, for the record."""
    from mindtune.evaluate.compare import compare, system_values
    from mindtune.evaluate.items import read_items, split_metric, write_items

    rows = [*found.reply_items(), *found.pair_items()]
    names = {split_metric(row["metric"]).name for row in rows}
    about = {"suite": found.rubric.name, "run": args.run}
    write_items(args.items, [about | row for row in rows], signatures(found.rubric, names))
    frame = read_items([args.items])
    return {"rows": system_values(frame), "paired": compare(frame)}


def scored(args: argparse.Namespace) -> dict[str, Any]:
    """Write the item scores and return the facts of the record."""
    from mindtune.evaluate import judged_facts

    found = read_scores(args)
    people: judged_facts.People = {}
    for path in args.people:
        rows = read_jsonl(path)
        people |= judged_facts.read_people(rows, found.rubric.name, args.run, path.as_posix())
    between = judged_facts.between_judges(found)
    rates = judged_facts.corrected_rates(found, people)
    said = judged_facts.note(found, found.rubric.note, judging(args.made_by))
    return written(args, found) | {
        "suite": found.rubric.name,
        "note": f"{said} {judged_facts.agreement_note(between, rates)}",
        "counts": counts(found),
        "failures": {judge: dict(sorted(n.items())) for judge, n in found.failures.items()},
        "judges": found.models,
        "dates": sorted(found.dates),
        "raters": len(found.models),
        "comparisons": found.flips(),
        "agreement": between,
        "corrected": rates,
    }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--answers", required=True, type=Path)
    parser.add_argument("--rubric", required=True, type=Path)
    parser.add_argument("--root", required=True, type=Path, help="where a rubric's items start")
    parser.add_argument("--run", required=True)
    parser.add_argument("--dataset", required=True, help="the run's dataset")
    parser.add_argument("--people", type=Path, nargs="*", default=[], help="people's answers")
    add_scored(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([args.answers, args.rubric, *args.people], args.made_by)
    facts = scored(args)
    for side, count in facts["counts"].items():
        if count["asked"] != count["judged"] + count["failed"]:
            raise UserError(f"{args.answers}: the counts of {side} do not add up ({count})")
    write_record(
        args.scores,
        "score_judged",
        inputs=inputs,
        outputs=[args.items],
        params={"suite": facts["suite"], "run": args.run},
        facts=facts,
        packages=["numpy", "pyarrow", "scipy"],
    )
    print(facts["note"])


if __name__ == "__main__":
    raise SystemExit(run(main))
