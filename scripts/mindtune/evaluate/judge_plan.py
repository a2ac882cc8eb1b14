"""Which requests a judging makes: every reply or conversation with every rubric, and base against
tuned in both orders. The plan is walked, never held: counting, asking and writing go over it again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mindtune.evaluate.judge_prompts import (
    Messages,
    digest,
    pair_messages,
    reply_messages,
    request_key,
    talk_messages,
)
from mindtune.evaluate.rubrics import LANGUAGES, TALKS, Rubric
from mindtune.evaluate.scoring import Rows, read_by_id
from mindtune.evaluate.tokens import is_chinese
from mindtune.evaluate.transcripts import check_said, check_same_clients

ORDERS = ("base_first", "tuned_first")


@dataclass(frozen=True)
class Replies:
    """The replies to one suite by base (run is empty) or by a run's tuned model; of the suite
    TALKS the rows are conversations.
    """

    dataset: str
    run: str
    suite: str
    rows: Rows


@dataclass(frozen=True)
class Ask:
    """One request to a judge. `about` says of what, as it stands in the answers file; without
    messages nothing needs to be asked (two equal replies).
    """

    about: Mapping[str, Any]
    messages: Messages | None

    @cached_property
    def key(self) -> str:
        """The request's key; empty if nothing is asked."""
        return request_key(self.messages) if self.messages else ""


def read_replies(places: Mapping[str, Mapping[str, str]]) -> list[Replies]:
    """The replies files {path: {"dataset", "run", "suite"}}; a prompt that names no language has
    that of its last turn.
    """
    found = []
    for path, about in places.items():
        rows = read_by_id(Path(path))
        for row in rows.values():
            if about["suite"] == TALKS:
                check_said(row, path)
            if row.get("lang") not in LANGUAGES:
                row["lang"] = "zh" if is_chinese(row["prompt"][-1]["content"]) else "en"
        found.append(Replies(**about, rows=rows))
    return found


def chosen_ids(both: Sequence[Rows], most: int | None) -> list[str]:
    """The ids that all have, in their order; of more than `most` those with the lowest hashes, so
    that the choice depends on nothing but the ids.
    """
    ids = [key for key in both[0] if all(key in rows for rows in both)]
    if most is None or len(ids) <= most:
        return ids
    kept = set(sorted(ids, key=digest)[:most])
    return [key for key in ids if key in kept]


def reply_asks(rubric: Rubric, replies: Replies, ids: Sequence[str]) -> Iterator[Ask]:
    """The requests about single replies, or about single conversations."""
    kind, messages_of = ("talk", talk_messages) if rubric.of_talks else ("reply", reply_messages)
    for key in ids:
        row = replies.rows[key]
        behaviours = rubric.applying(row, row["reply"])
        if not behaviours:
            continue
        identity, messages = messages_of(rubric.name, behaviours, row)
        about = about_of(rubric, replies, row) | {
            "kind": kind,
            "asked": {name: found.most for name, found in behaviours.items()},
            "request": identity,
        }
        yield Ask(about, messages)


def pair_asks(rubric: Rubric, base: Replies, tuned: Replies, ids: Sequence[str]) -> Iterator[Ask]:
    """The requests that compare base and tuned, each pair in both orders."""
    for key in ids:
        row, both = tuned.rows[key], (base.rows[key]["reply"], tuned.rows[key]["reply"])
        lengths = {"base_characters": len(both[0]), "tuned_characters": len(both[1])}
        for order in ORDERS:
            shown = both if order == ORDERS[0] else both[::-1]
            identity, messages = pair_messages(rubric.name, rubric.prefer, row, *shown)
            about = about_of(rubric, tuned, row) | {"kind": "pair", "order": order} | lengths
            same = both[0] == both[1]
            yield Ask(about | {"request": identity}, None if same else messages)


def about_of(rubric: Rubric, replies: Replies, row: Mapping[str, Any]) -> dict[str, Any]:
    """What every request says of itself; of a conversation also who played the client."""
    talk = {key: row[key] for key in ("client", "seed")} if rubric.of_talks else {}
    return talk | {
        "rubric": rubric.name,
        "suite": replies.suite,
        "dataset": replies.dataset,
        "run": replies.run,
        "id": row["id"],
        "cluster": row.get("cluster", row.get("dialogue", row["id"])),
        "lang": row["lang"],
    }


def plan(
    rubrics: Sequence[Rubric], replies: Sequence[Replies], most: int | None, pairs: bool
) -> Iterator[Ask]:
    """All requests of one judge, in the order of the answers file."""
    bases = {(found.dataset, found.suite): found for found in replies if not found.run}
    for rubric in rubrics:
        for suite in rubric.suites:
            for (dataset, name), base in bases.items():
                if name != suite:
                    continue
                tuned = [
                    found
                    for found in replies
                    if found.run and (found.dataset, found.suite) == (dataset, suite)
                ]
                if rubric.of_talks:
                    check_same_clients(base.rows, {found.run: found.rows for found in tuned})
                ids = chosen_ids([base.rows, *(found.rows for found in tuned)], most)
                for found in (base, *tuned):
                    yield from reply_asks(rubric, found, ids)
                if pairs and rubric.prefer:
                    for found in tuned:
                        yield from pair_asks(rubric, base, found, ids)
