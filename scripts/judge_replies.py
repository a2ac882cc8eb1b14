"""Let judges answer the questions of rubrics about the replies of base and tuned, and compare the
two in both orders.

Reads   replies of base and tuned, rubrics; a judge's key from its file or from the environment
Writes  every request with its raw answer, hash and date (from which all scores are computed,
        without an endpoint), and a record. Answers are kept in the state folder while they come
        in: a killed run goes on, and asks for nothing that it has.
"""

import argparse
import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mindtune.cli import UserError, run
from mindtune.evaluate.judge_cost import Estimate
from mindtune.evaluate.judge_plan import Ask, plan, read_replies
from mindtune.evaluate.judge_spec import families, kinship, take_key
from mindtune.evaluate.judge_store import JudgeStore, spent_in
from mindtune.evaluate.rubrics import read_rubric
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import sha256_path, to_json, write_jsonl, write_record


def today() -> str:
    """The date that an answer gets, UTC."""
    return datetime.now(UTC).date().isoformat()


class Work:
    """One judge with its store and its plan. `place` is what its answers depend on besides the
    messages: the address, or the model folder's bytes.
    """

    def __init__(self, name: str, spec: Mapping[str, Any], state: Path, place: str) -> None:
        self.name, self.spec = name, spec
        about = to_json({"place": place, "model": spec["model"], "most": spec["max_tokens"]})
        self.store = JudgeStore(state / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.jsonl")

    def row(self, ask: Ask) -> dict[str, Any]:
        """A row of the answers file."""
        row: dict[str, Any] = {"judge": self.name, "model": self.spec["model"], **ask.about}
        if ask.messages is None:
            return row | {"messages": None, "sha256": None, "answer": None}
        answer = self.store.get(ask.key)
        answer["raw_sha256"] = hashlib.sha256(answer["raw"].encode()).hexdigest()
        return row | {"messages": ask.messages, "sha256": ask.key, "answer": answer}


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


def announce(works: list[Work], asks: Any, budget: float | None, state: Path) -> None:
    """Print what will be asked and what it will cost, and stop if that is over the budget."""
    money = 0.0
    for work in works:
        estimate = Estimate(work.spec)
        for ask in asks():
            if ask.messages is not None:
                estimate.add(ask.messages, ask.key in work.store)
        money += estimate.money
        print(estimate.sentence(work.name), flush=True)
        if not work.spec["path"]:
            print(f"what clients said goes to {urlsplit(work.spec['base_url']).hostname}")
        if work.store.lost:
            print(
                f"judge {work.name}: {work.store.lost} requests were on their way when a run was "
                "killed; they are asked again, and count as paid for in the budget"
            )
    spent = spent_in(state)
    if budget is not None and spent + money > budget:
        raise UserError(
            f"judge.budget is {budget}, {spent:.4f} may be spent already, and what is missing "
            f"costs about {money:.4f}: nothing was asked; raise judge.budget or lower "
            f"judge.max_items, then run again"
        )


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


def facts_of(works: list[Work], args: argparse.Namespace, rows: int) -> dict[str, Any]:
    """The facts of the record, equal for equal answers."""
    from mindtune.records import read_jsonl

    found: dict[str, Any] = {}
    for row in read_jsonl(args.answers):
        about = found.setdefault(
            row["judge"],
            {"model": row["model"], "requests": 0, "unanswered": 0, "same": 0, "dates": set()}
            | {"tokens_read": 0, "tokens_written": 0},
        )
        if row["answer"] is None:
            about["same"] += 1
            continue
        about["requests"] += 1
        about["unanswered"] += bool(row["answer"]["failure"])
        about["tokens_read"] += row["answer"]["read"]
        about["tokens_written"] += row["answer"]["written"]
        about["dates"].add(row["answer"]["at"])
    for work in works:
        about = found.setdefault(work.name, {"model": work.spec["model"], "dates": set()})
        about["dates"] = sorted(about["dates"])
        about["own_family"] = kinship(work.name, work.spec, families(*args.tuned.values()))
        about["served"] = "here" if work.spec["path"] else urlsplit(work.spec["base_url"]).hostname
    return {"rows": rows, "judges": found}


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--judges", required=True, type=json.loads, help="JSON {name: judge}")
    parser.add_argument("--settings", required=True, type=json.loads, help="JSON: limits")
    parser.add_argument("--rubrics", required=True, nargs="+", type=Path)
    parser.add_argument("--root", required=True, type=Path, help="where a rubric's items start")
    parser.add_argument(
        "--replies", required=True, type=json.loads, help="JSON {path: {dataset, run, suite}}"
    )
    add_made_by(parser)
    parser.add_argument(
        "--tuned", type=json.loads, default={}, help="JSON {model: the base's name}"
    )
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
    works = []
    for name, spec in args.judges.items():
        place = sha256_path(spec["path"]) if spec["path"] else spec["base_url"]
        works.append(Work(name, spec, args.state, place))
        if warning := kinship(name, spec, families(*args.tuned.values())):
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
        facts=facts_of(works, args, rows),
        packages=["inspect-ai", "openai"],
    )
    asked = ", ".join(f"{name} {count}" for name, count in new.items())
    print(f"asked now: {asked}; {rows} rows in {args.answers}")


def public(judges: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a record says of the judges: which they are, not where their keys lie."""
    return {
        name: {key: spec[key] for key in ("base_url", "model", "max_tokens")}
        for name, spec in judges.items()
    }


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        raise SystemExit(run(main))
