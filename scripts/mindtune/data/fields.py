"""`datasets.NAME.fields`: where the parts of a dialogue stand in rows of a form that is not known
by itself.
"""

from collections.abc import Mapping
from typing import Any

from mindtune.cli import UserError

FIELDS = ("dialogue", "turns", "speaker", "text", "question", "answer", "system", "history")


def check_fields(fields: Mapping[str, str]) -> None:
    """The mapping says where a question and its answer stand, or a speaker and a text."""
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise UserError(f"fields: found {', '.join(unknown)}; expected only {', '.join(FIELDS)}")
    pairs = {"question", "answer"} <= set(fields)
    turns = {"speaker", "text"} <= set(fields) and ("turns" in fields) != ("dialogue" in fields)
    if fields and pairs == turns:
        raise UserError(
            f"fields: found {', '.join(sorted(fields))}; expected question and answer, or speaker "
            f"and text with turns (the key of their list) or dialogue (the key that the turns of "
            f"one dialogue share)"
        )


def at(row: Any, path: str) -> Any:
    """The value at a path such as `meta.turns`; None where there is none. A key with a dot in it
    wins.
    """
    if isinstance(row, dict) and path in row:
        return row[path]
    for key in path.split("."):
        row = row.get(key) if isinstance(row, dict) else None
    return row


def is_turn_of(row: Any, fields: Mapping[str, str]) -> bool:
    """True if rows are turns by the mapping."""
    return "dialogue" in fields and at(row, fields["speaker"]) is not None


def mapped(row: Any, fields: Mapping[str, str]) -> Any:
    """The row in a known form. What a path does not find is None, and makes the row malformed."""
    if not fields or not isinstance(row, dict):
        return row
    more = {key: at(row, fields[key]) for key in ("system", "history") if key in fields}
    more |= {"id": row["id"]} if "id" in row else {}
    if "question" in fields:
        return more | {key: at(row, fields[key]) for key in ("question", "answer")}
    turns = at(row, fields.get("turns", "turns"))
    if not isinstance(turns, list):
        return more | {"conversations": [{"from": None, "value": None}]}
    pairs = [{"from": at(turn, fields["speaker"]), "value": at(turn, fields["text"])} for turn in turns]  # fmt: skip
    return more | {"conversations": pairs}
