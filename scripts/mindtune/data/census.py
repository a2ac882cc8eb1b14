"""The crisis tags of a dialogue, its place in the list for people, and the census of a corpus.

The tags stand in every row, so that a program sees one type whatever it reads: `crisis` is none,
helped, unhelped or counsellor (only the counsellor speaks of it), and `crisis_turns` has a string a
turn: empty, `speaks`, `help`, or both with a space.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mindtune.data import crisis
from mindtune.data.hotlines import Hotlines

SPEAKS_OF_IT, POINTS_TO_HELP, NAMES_HOTLINE, COUNSELLOR_SPEAKS = 1, 2, 4, 8
NUMBER = re.compile(r"[0-9][0-9 -]{1,14}[0-9]")
_CALLED = re.compile(
    r"(?:打|致电|拨|热线|call|dial|text|ring|line)[^。.!?\n]{0,12}\Z", re.IGNORECASE
)
LONGEST_YEAR = 4  # 1995 may be a line or a year: so short a number counts where one is told to call
EXCERPT = 60  # characters of a turn beside the word, in the list for people
Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Tags:
    """What one dialogue says of it: the verdict, a tag a turn, and the flags of the census."""

    verdict: str
    turns: tuple[str, ...]
    flags: int


def tag(turns: Turns, hotlines: Hotlines) -> Tags:
    """Tag one dialogue. Help counts from the first turn on that speaks of it."""
    tags, flags = [""] * len(turns), 0
    for index, (role, text) in enumerate(turns):
        if role not in ("human", "gpt"):
            continue
        words = ["speaks"] if crisis.speaks_of_it(text) else []
        flags |= bool(words) * (SPEAKS_OF_IT if role == "human" else COUNSELLOR_SPEAKS)
        if role == "gpt" and flags and (named := _helps(text, hotlines)):
            words.append("help")
            flags |= named
        tags[index] = " ".join(words)
    if not flags & (SPEAKS_OF_IT | COUNSELLOR_SPEAKS):
        return Tags("none", tuple(tags), 0)
    verdict = "helped" if flags & POINTS_TO_HELP else "unhelped"
    return Tags(verdict if flags & SPEAKS_OF_IT else "counsellor", tuple(tags), flags)


def _helps(text: str, hotlines: Hotlines) -> int:
    named = crisis.HOTLINE.search(text) is not None or any(
        hotlines.holds(match[0])
        and (len(match[0]) > LONGEST_YEAR or _CALLED.search(text[: match.start()]))
        for match in NUMBER.finditer(text)
    )
    helped = named or crisis.HELP.search(text) is not None
    return POINTS_TO_HELP * helped | NAMES_HOTLINE * named


def keeps(tags: Tags, policy: str) -> bool:
    """Whether `data.clean.crisis` (keep, drop or with_help) keeps a dialogue with these tags."""
    if policy == "keep" or not tags.flags:
        return True
    return policy == "with_help" and bool(tags.flags & POINTS_TO_HELP)


def listed(row: Mapping[str, Any], numbers: Sequence[str]) -> dict[str, Any]:
    """A line of crisis.jsonl: the turns with a tag, the words found, and numbers to look at."""
    turns = [
        {"turn": index, "from": turn["from"], "tag": mark} | _excerpt(turn["value"])
        for index, (turn, mark) in enumerate(
            zip(row["conversations"], row["crisis_turns"], strict=True)
        )
        if mark
    ]
    return {"id": row["id"], "crisis": row["crisis"], "turns": turns, "numbers": list(numbers)}


def _excerpt(text: str) -> dict[str, Any]:
    words = crisis.speaks_of_it(text)
    at = max(text.find(words[0]), 0) if words else 0
    return {"words": words, "excerpt": text[max(at - EXCERPT, 0) : at + EXCERPT]}


def count(values: np.ndarray) -> Mapping[str, int]:
    """The census of many dialogues' flags; help is counted where the client speaks of it."""
    client = values[(values & SPEAKS_OF_IT) != 0]
    return {
        "dialogues": len(values),
        "client_speaks_of_suicide_or_self_harm": len(client),
        "counsellor_points_to_help": int(np.count_nonzero(client & POINTS_TO_HELP)),
        "counsellor_names_a_hotline": int(np.count_nonzero(client & NAMES_HOTLINE)),
        "only_the_counsellor_speaks_of_it": int(
            np.count_nonzero((values & COUNSELLOR_SPEAKS) & ~((values & SPEAKS_OF_IT) << 3))
        ),
    }
