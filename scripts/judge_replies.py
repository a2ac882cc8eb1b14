"""Let judges answer the questions of rubrics about the replies of base and tuned, and compare the
two in both orders.

Reads   replies of base and tuned, rubrics; a judge's key from its file or from the environment
Writes  every request with its raw answer, hash and date (from which all scores are computed,
        without an endpoint), and a record. Answers are kept in the state folder while they come
        in: a killed run goes on, and asks for nothing that it has.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mindtune.cli import argument_parser, run
from mindtune.evaluate.judge_plan import Ask, plan, read_replies
from mindtune.evaluate.judge_spec import families, kinship, take_key
from mindtune.evaluate.judge_store import spent_in
from mindtune.evaluate.judge_work import Work, announce, facts_of, public, today
from mindtune.evaluate.rubrics import read_rubric
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import sha256_path, write_jsonl, write_record


@contextmanager
def connected(work: Work, args: argparse.Namespace) -> Iterator[Any]:
    """The judge itself: at its address, or served here from its folder and gone afterwards."""
    from mindtune.evaluate.judge_client import Judge

    limits = {"timeout_s": args.settings["timeout_s"], "max_tokens": work.spec["max_tokens"]}
    if not work.spec["path"]:
        key = take_key(work.name, work.spec)
        yield Judge(work.name, work.spec["model"], work.spec["base_url"], key, **limits)
        return
    from mindtune.serve.engine import serve

    engine = {**args.engine, "model_name": work.spec["model"], "python": args.engine_python}
    with serve(work.spec["path"], engine, args.log) as server:
        yield Judge(work.name, server.model_name, server.base_url, server.api_key, **limits)


def ask_all(work: Work, asks: Any, args: argparse.Namespace) -> int:
    """Ask a judge for all that is missing; return how many requests that were."""
    missing = (
        (ask.key, ask.messages)
        for ask in asks()
        if ask.messages is not None and ask.key not in work.store
    )
    first = next(missing, None)
    if first is None:
        return 0
    from mindtune.evaluate.judge_run import Asking

    limits = {**args.settings, "spent_elsewhere": spent_in(args.state) - work.store.spent}
    with connected(work, args) as judge:
        asking = Asking(judge, work.spec, work.store, limits, today)
        return asyncio.run(asking.all(chained(first, missing)))


def chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    """One thing, then the others."""
    yield first
    yield from rest


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__, fromfile_prefix_chars="@")
    parser.add_argument("--judges", required=True, type=json.loads, help="JSON {name: judge}")
    parser.add_argument("--settings", required=True, type=json.loads, help="JSON: limits")
    parser.add_argument("--rubrics", required=True, nargs="+", type=Path)
    parser.add_argument("--root", required=True, type=Path, help="where a rubric's items start")
    parser.add_argument(
        "--replies", required=True, type=json.loads, help="JSON {path: {dataset, run, suite}}"
    )
    add_made_by(parser)
    parser.add_argument("--tuned", type=json.loads, default={}, help="JSON: the base's id and type")
    parser.add_argument("--engine", type=json.loads, default={}, help="JSON: for a local judge")
    parser.add_argument("--engine-python", default="", help="interpreter that serves")
    parser.add_argument("--state", required=True, type=Path, help="folder of kept answers")
    parser.add_argument("--answers", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument("--log", required=True, type=Path, help="what a local judge prints")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([*map(Path, args.replies), *args.rubrics], args.made_by)
    rubrics = [read_rubric(path, args.root) for path in args.rubrics]
    replies = read_replies(args.replies)
    most, pairs = args.settings["max_items"], args.settings["pairs"]
    tuned = families(*args.tuned.values())
    works = []
    for name, spec in args.judges.items():
        place = sha256_path(spec["path"]) if spec["path"] else spec["base_url"]
        works.append(Work(name, spec, args.state, place))
        if warning := kinship(name, spec, tuned):
            print(f"warning: {warning}")

    def asks() -> Iterator[Ask]:
        return plan(rubrics, replies, most, pairs)

    announce(works, asks, args.settings["budget"], args.state)
    new = {work.name: ask_all(work, asks, args) for work in works}
    rows = write_jsonl(args.answers, (work.row(ask) for work in works for ask in asks()))
    write_record(
        args.record,
        "judge_replies",
        inputs=inputs,
        outputs=[args.answers],
        params={"judges": public(args.judges), "max_items": most, "pairs": pairs},
        facts=facts_of(works, args.answers, rows, tuned),
        packages=["inspect-ai", "openai"],
    )
    asked = ", ".join(f"{name} {count}" for name, count in new.items())
    print(f"asked now: {asked}; {rows} rows in {args.answers}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        raise SystemExit(run(main))
