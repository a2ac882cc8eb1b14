"""Turn a suite's data into prompts: checked, in a fixed order, with the system prompt of the
training.

Reads   the suite's data files, and the training split of the dialogues that a run trains on
Writes  one JSON row a prompt {id, cluster, lang, strata, prompt, ...}, and the record, which
        lists every question that was left out
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.chat_template import system_of_most
from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate.choice_prompts import question_prompts
from mindtune.evaluate.dialogue_prompts import DIALOGUE_FORMS, read_dialogue_prompts
from mindtune.evaluate.open_prompts import read_open_prompts
from mindtune.evaluate.questions import FORMS, checked, with_clusters
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import read_jsonl, sha256_path, write_jsonl, write_record

OPEN_FORMS = (*DIALOGUE_FORMS, "prompts")


def data_files(place: Path) -> list[Path]:
    """The file, or a folder's files, sorted; manifests and licences beside them are no data."""
    if place.is_file():
        return [place]
    return [
        path
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.suffix in (".json", ".jsonl", ".csv")
    ]


def check_hash(data: Path, spec: Mapping[str, Any], name: str) -> None:
    """The data are those that the suite's file pins."""
    found = sha256_path(data)
    if spec["sha256"] and found != spec["sha256"]:
        raise UserError(
            f"suite {name}: {data} has SHA-256 {found}, and the suite's file says "
            f"{spec['sha256']}; give the data of that revision, or correct sha256 if "
            "these are the right ones"
        )


def choice_rows(
    spec: Mapping[str, Any], files: Sequence[Path], name: str
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Prompts of a multiple-choice suite, and the questions that were left out."""
    wanted = (
        question
        for question in FORMS[spec["form"]](files)
        if question.lang in spec["languages"]
        and (not spec["categories"] or set(question.strata) & set(spec["categories"]))
    )
    questions, excluded = checked(wanted, spec["dirt"], f"suite {name}")
    with_clusters(questions)
    questions = questions[: spec["max_items"]]
    return question_prompts(questions, spec["instruction"], spec["shuffles"]), excluded


def with_system(rows: list[dict[str, Any]], system: str | None) -> list[dict[str, Any]]:
    """The rows with a system turn before each prompt."""
    turn = [] if system is None else [{"role": "system", "content": system}]
    return [row | {"prompt": [*turn, *row["prompt"]]} for row in rows]


def prepare(args: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the prompts file, and the facts of the record."""
    spec, excluded = args.spec, []
    system = spec["system"] if spec["system"] is not None else args.settings["system"]
    if system is None and spec["form"] != "dialogues":  # these have turns of their own
        system = system_of_most(read_jsonl(args.train))
    check_hash(args.data, spec, args.suite)
    if spec["form"] in DIALOGUE_FORMS:
        settings = args.settings["dialogue"]
        rows = read_dialogue_prompts(args.data, spec["form"], settings, system)
    elif spec["form"] in FORMS:
        rows, excluded = choice_rows(spec, data_files(args.data), args.suite)
        rows = with_system(rows, system)
    else:
        rows = read_open_prompts(data_files(args.data), spec["languages"])[: spec["max_items"]]
        rows = with_system(rows, system)
    if not rows:
        raise UserError(f"suite {args.suite}: {args.data} leaves nothing to ask; check its data")
    return rows, {
        "prompts": len(rows),
        "excluded": excluded,
        "excluded_n": len(excluded),
        "system": "in the dialogues"
        if spec["form"] == "dialogues"
        else rows[0]["prompt"][0]["content"]
        if rows[0]["prompt"][0]["role"] == "system"
        else None,
    }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--suite", required=True, help="the suite's name")
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: the suite's file")
    parser.add_argument("--settings", required=True, type=json.loads, help="JSON: system, dialogue")
    parser.add_argument(
        "--data", required=True, type=Path, help="file or folder of the suite's data"
    )
    parser.add_argument("--train", required=True, type=Path, help="the training split")
    add_made_by(parser)
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args()
    if args.spec["form"] not in (*FORMS, *OPEN_FORMS):
        raise UserError(
            f"suite {args.suite}: form is {args.spec['form']!r}; expected one of "
            f"{', '.join((*FORMS, *OPEN_FORMS))}"
        )
    return args


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([args.data, args.train], args.made_by)
    rows, facts = prepare(args)
    write_jsonl(args.prompts, rows)
    write_record(
        args.record,
        "prepare_suite",
        inputs=inputs,
        outputs=[args.prompts],
        params={"suite": args.suite, "spec": args.spec, "settings": args.settings},
        facts=facts,
    )
    print(f"{args.suite}: {facts['prompts']} prompts, left out {facts['excluded_n']}")
    for row in facts["excluded"]:
        print(f"  left out {row['id']}: {row['reason']}")


if __name__ == "__main__":
    raise SystemExit(run(main))
