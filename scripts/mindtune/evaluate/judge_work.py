"""A judge with its plan and its store: what is asked, what it costs, and what a record says."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mindtune.cli import UserError
from mindtune.evaluate.judge_cost import Estimate
from mindtune.evaluate.judge_plan import Ask
from mindtune.evaluate.judge_spec import kinship
from mindtune.evaluate.judge_store import JudgeStore, spent_in
from mindtune.records import read_jsonl, to_json

Asks = Callable[[], Iterable[Ask]]


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


def announce(works: Sequence[Work], asks: Asks, budget: float | None, state: Path) -> None:
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


def facts_of(works: Sequence[Work], answers: Path, rows: int, tuned: set[str]) -> dict[str, Any]:
    """The facts of the record, equal for equal answers."""
    found: dict[str, Any] = {}
    for row in read_jsonl(answers):
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
        about["own_family"] = kinship(work.name, work.spec, tuned)
        about["served"] = "here" if work.spec["path"] else urlsplit(work.spec["base_url"]).hostname
    return {"rows": rows, "judges": found}


def public(judges: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a record says of the judges: which they are, not where their keys lie."""
    return {
        name: {key: spec[key] for key in ("base_url", "model", "max_tokens")}
        for name, spec in judges.items()
    }
