"""A judge's raw answer, read strictly: exactly the JSON object that was asked for, or a named
failure. A failure is counted and kept; nothing is repaired or guessed.
"""

import json
from collections.abc import Mapping
from typing import Any

from mindtune.evaluate.judge_prompts import CHECK, numbers

# What a failure means to a reader of the table
FAILURES = {
    "timeout": "the judge did not answer in time",
    "refused": "the judge's server refused the request",
    "truncated": "the answer breaks off before its JSON ends",
    "prose": "the answer is not one JSON object and nothing else",
    "keys": "the answer has other keys than were asked for",
    "other_id": "the answer is about another item",
    "scale": "an answer is not on the scale that was asked for",
    "check": "the answer says yes to a question whose answer is known to be no",
}


class Failure(Exception):
    """Why a raw answer cannot be used; the message is a key of FAILURES."""


def read_object(raw: str) -> dict[str, Any]:
    """The one JSON object that an answer is."""

    def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Failure("keys")
        return found

    text = raw.strip()
    try:
        found = json.loads(text, object_pairs_hook=without_doubles)
    except (ValueError, RecursionError):
        raise Failure("truncated" if is_open(text) else "prose") from None
    if not isinstance(found, dict):
        raise Failure("prose")
    return found


def is_open(text: str) -> bool:
    """True for the beginning of a JSON object whose end is missing."""
    if not text.startswith("{"):
        return False
    depth, quoted, escaped = 0, False, False
    for character in text:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        else:
            depth += (character in "{[") - (character in "}]")
            if depth == 0:
                return False
    return True


def read_answers(raw: str, identity: str, most: Mapping[str, int]) -> dict[str, float]:
    """The answers to the questions `most` {name: highest number; 1 for yes or no}; a Failure if
    anything is not as it was asked for.
    """
    found = read_object(raw)
    if set(found) != {"id", "answers"} or not isinstance(found["answers"], dict):
        raise Failure("keys")
    if found["id"] != identity:
        raise Failure("other_id")
    answers = found["answers"]
    places = numbers(most)
    if set(answers) != {*places, CHECK}:
        raise Failure("keys")
    for place, highest in zip([*places, CHECK], [*most.values(), 1], strict=True):
        said, binary = answers[place], highest == 1
        if isinstance(said, bool) is not binary or not isinstance(said, int):
            raise Failure("scale")
        if not 0 <= said <= highest:
            raise Failure("scale")
    if answers[CHECK]:
        raise Failure("check")
    return {name: float(answers[place]) for name, place in zip(most, places, strict=True)}


def read_preference(raw: str, identity: str) -> int:
    """1 or 2, the better of two replies, or 0; a Failure if the answer is anything else."""
    found = read_object(raw)
    if set(found) != {"id", "better"}:
        raise Failure("keys")
    if found["id"] != identity:
        raise Failure("other_id")
    better = found["better"]
    if isinstance(better, bool) or better not in (0, 1, 2):
        raise Failure("scale")
    return int(better)
