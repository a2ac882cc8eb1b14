"""Item scores of a rubric from the answers file alone: no endpoint, and equal bytes for equal
answers.

A behaviour's value is 1 where the reply passes, of several judges their mean. `passed` is the share
of the asked behaviours, `score_1_to_5` is 1 + 4 x that. What a judge's failure leaves open is null.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log, tanh
from statistics import fmean
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.judge_answers import FAILURES, Failure, read_answers, read_preference
from mindtune.evaluate.judge_plan import ORDERS
from mindtune.evaluate.judge_prompts import request_key
from mindtune.evaluate.rubrics import Rubric
from mindtune.evaluate.scoring import item

MODELS = ("base", "tuned")
PREFERRED, FAIR = "preferred", "preferred_equal_length"
SIGNATURES = {
    "passed": "share of the behaviours asked that pass, by a judge; mean over judges",
    "score_1_to_5": "derived: 1 + 4 x passed",
    PREFERRED: "base against tuned, 1 if preferred in both orders, 0.5 if the order decides",
    FAIR: "as preferred, at equal length: a line over tanh(log of the lengths' ratio) at 0",
    "judge_failed": "share of the judges without a usable answer",
}


@dataclass
class Found:
    """What all judges said of one reply or conversation: {behaviour: shares of the best answer},
    and failures.
    """

    cluster: str
    lang: str
    shares: dict[str, list[float]] = field(default_factory=dict)
    by_judge: dict[str, float] = field(default_factory=dict)
    failures: int = 0
    judges: int = 0


def checked(row: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """A row of the answers file whose request and answer have the hashes that it names."""
    if row["answer"] is None:
        return row
    asked = request_key(row["messages"])
    raw = hashlib.sha256(row["answer"]["raw"].encode()).hexdigest()
    if asked != row["sha256"] or raw != row["answer"]["raw_sha256"]:
        raise UserError(
            f"{place}: the {'request' if asked != row['sha256'] else 'raw answer'} of {row['id']} "
            "was changed after it was judged; put the file back as it was, or judge again"
        )
    return row


def parsed(row: Mapping[str, Any]) -> Any:
    """The answers of a row, {behaviour: answer} or 0, 1, 2; a Failure if it has none."""
    if row["answer"] is None:
        return 0  # two equal replies
    if row["answer"]["failure"]:
        raise Failure(row["answer"]["failure"])
    if row["kind"] == "pair":
        return read_preference(row["answer"]["raw"], row["request"])
    return read_answers(row["answer"]["raw"], row["request"], row["asked"])


class Scores:
    """What a rubric's rows say of one run, added up row by row."""

    def __init__(self, rubric: Rubric, run: str, dataset: str) -> None:
        self.rubric, self.run, self.dataset = rubric, run, dataset
        self.replies: dict[str, dict[str, Found]] = {model: {} for model in MODELS}
        self.pairs: dict[str, dict[str, Any]] = {}
        self.counts = {model: Counter() for model in (*MODELS, "pairs")}
        self.failures: dict[str, Counter[str]] = {}
        self.models: dict[str, str] = {}
        self.dates: set[str] = set()
        self.clients: set[str] = set()  # who played them, of conversations
        self.answers: dict[tuple[str, ...], dict[str, float]] = {}  # for agreement

    def is_mine(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is of this rubric and run, or of the base on its data set."""
        mine = row["run"] == self.run or (row["run"] == "" and row["dataset"] == self.dataset)
        return mine and row["rubric"] == self.rubric.name

    def take(self, row: Mapping[str, Any]) -> None:
        """Take a row of this rubric and run into account."""
        self.models[row["judge"]] = row["model"]
        if row["answer"]:
            self.dates.add(row["answer"]["at"])
        if row["kind"] == "talk":
            self.clients.add(row["client"])
        side = "pairs" if row["kind"] == "pair" else "tuned" if row["run"] else "base"
        try:
            said, failure = parsed(row), ""
        except Failure as error:
            said, failure = None, str(error)
            self.failures.setdefault(row["judge"], Counter())[failure] += 1
        self.counts[side]["failed" if failure else "judged"] += 1
        (self.take_pair if side == "pairs" else self.take_reply)(row, side, said)

    def take_reply(self, row: Mapping[str, Any], model: str, said: Any) -> None:
        """One judge's answers about one reply."""
        found = self.replies[model].setdefault(row["id"], Found(row["cluster"], row["lang"]))
        found.judges += 1
        if said is None:
            found.failures += 1
            return
        shares = {name: self.rubric.behaviours[name].share(said[name]) for name in said}
        for name, share in shares.items():
            found.shares.setdefault(name, []).append(share)
            if self.rubric.behaviours[name].is_binary:
                key = (model, row["id"], name)
                self.answers.setdefault(key, {})[row["judge"]] = share
        found.by_judge[row["judge"]] = fmean(shares.values())

    def take_pair(self, row: Mapping[str, Any], _side: str, said: int | None) -> None:
        """One judge's preference in one order: 1 for tuned, 0 for base, 0.5 for neither."""
        found = self.pairs.setdefault(
            row["id"],
            {"cluster": row["cluster"], "lang": row["lang"], "orders": {}}
            | {key: row[key] for key in ("base_characters", "tuned_characters")},
        )
        if said is not None:
            first = 0.5 if said == 0 else float(said == 1)
            tuned = first if row["order"] == ORDERS[1] else 1 - first
            found["orders"].setdefault(row["judge"], {})[row["order"]] = tuned

    def reply_items(self) -> Iterator[dict[str, Any]]:
        """The item scores of single replies."""
        languages = {found.lang for rows in self.replies.values() for found in rows.values()}
        judges = sorted(self.models) if len(self.models) > 1 else []
        for model, rows in self.replies.items():
            for key, found in rows.items():
                values: dict[str, float | None] = {
                    name: fmean(found.shares[name]) * asked.most if name in found.shares else None
                    for name, asked in self.rubric.behaviours.items()
                }
                share = fmean(found.by_judge.values()) if found.by_judge else None
                values["passed"] = share
                if len(languages) > 1:
                    values[f"passed@{found.lang}"] = share
                values |= {f"passed@judge {name}": found.by_judge.get(name) for name in judges}
                values["score_1_to_5"] = None if share is None else 1 + 4 * share
                values["judge_failed"] = found.failures / found.judges
                for name, value in values.items():
                    yield item(key, found.cluster, name, value, model)

    def pair_items(self) -> Iterator[dict[str, Any]]:
        """The item scores of comparisons; of one without both orders from any judge they are
        null.
        """
        for key, found in self.pairs.items():
            whole = [both for both in found["orders"].values() if len(both) == len(ORDERS)]
            tuned = fmean(fmean(both.values()) for both in whole) if whole else None
            longer = length_step(found["tuned_characters"], found["base_characters"])
            for model, sign in (("base", -1), ("tuned", 1)):
                value = tuned if tuned is None or sign > 0 else 1 - tuned
                yield item(key, found["cluster"], PREFERRED, value, model)
                parts = fair_parts(sign * longer, value)
                for part, number in parts.items():
                    yield item(key, found["cluster"], f"{FAIR}:{part}", number, model)

    def flips(self) -> dict[str, dict[str, int]]:
        """By judge: comparisons in both orders, and how many the order decided."""
        found: dict[str, dict[str, int]] = {}
        for pair in self.pairs.values():
            for judge, both in pair["orders"].items():
                if len(both) == len(ORDERS):
                    counts = found.setdefault(judge, {"compared": 0, "order_decided": 0})
                    counts["compared"] += 1
                    counts["order_decided"] += len(set(both.values())) > 1
        return found


def length_step(ours: int, theirs: int) -> float:
    """How much longer our reply is, -1 to 1: so bounded, one endless reply decides nothing."""
    return tanh(log((ours + 1) / (theirs + 1)))


def fair_parts(longer: float, value: float | None) -> dict[str, float | None]:
    """What `preferred_equal_length` is computed from (see parts.py); null without a value."""
    if value is None:
        return dict.fromkeys(("n", "x", "y", "xx", "xy"))
    return {"n": 1.0, "x": longer, "y": value, "xx": longer**2, "xy": longer * value}


def score(
    rows: Iterable[Mapping[str, Any]], rubric: Rubric, run: str, dataset: str, place: str
) -> Scores:
    """Everything that the answers file says of a rubric and a run; the hashes of these rows are
    checked, others are left to the scores that need them.
    """
    found = Scores(rubric, run, dataset)
    for row in rows:
        if found.is_mine(row):
            found.take(checked(row, place))
    if not any(found.replies.values()):
        raise UserError(f"{place} has no answer for {rubric.name} and run {run}; judge again")
    return found


def counts(found: Scores) -> dict[str, dict[str, int]]:
    """asked = judged + failed, by model and for the comparisons."""
    return {
        side: {"asked": sum(n.values()), "judged": n["judged"], "failed": n["failed"]}
        for side, n in found.counts.items()
        if n
    }


def signatures(rubric: Rubric, names: Collection[str]) -> dict[str, str]:
    """How each metric is computed; of a behaviour, the question that was asked."""
    asked = {
        name: f"{found.question['en']} {'yes' if found.good else 'no'} passes"
        if found.is_binary
        else f"{found.question['en']} 0 to {found.most}"
        for name, found in rubric.behaviours.items()
    }
    both = {"passed": SIGNATURES["passed"], "score_1_to_5": SIGNATURES["score_1_to_5"]}
    rest = {name: text for name, text in SIGNATURES.items() if name not in both}
    return {name: text for name, text in (both | asked | rest).items() if name in names}


def failure_words(found: Scores) -> str:
    """The failures by kind, for a reader; empty if there is none."""
    total: Counter[str] = sum(found.failures.values(), Counter())
    return "; ".join(f"{total[name]} x {FAILURES[name]}" for name in FAILURES if total[name])
