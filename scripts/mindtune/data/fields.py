"""`datasets.NAME.fields`: where the parts of a dialogue stand in rows of a form that is not known
by itself.
"""

from collections.abc import Mapping
from typing import Any


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
        return more | _weight(row) | {key: at(row, fields[key]) for key in ("question", "answer")}
    turns = at(row, fields.get("turns", "turns"))
    if not isinstance(turns, list):
        return more | {"conversations": [{"from": None, "value": None}]}
    said = [
        {"from": at(turn, fields["speaker"]), "value": at(turn, fields["text"]), **_weight(turn)}
        for turn in turns
    ]
    return more | {"conversations": said}


def _weight(said: Any) -> dict[str, Any]:
    """What a turn or row says of whether it is learned."""
    if not isinstance(said, dict):
        return {}
    return {key: said[key] for key in ("weight", "loss") if key in said}
