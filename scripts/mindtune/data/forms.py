"""The forms in which published sets hold a dialogue, told from a row's content, and the turns of
each.
"""

import re
from typing import Any

# The labels that published sets print before a turn, as in `来访者：你好`. Any other label of the
# same shape is kept as the turn's role, and is for the cleaning to accept or refuse.
TURN_LABELS = ("来访者", "求助者", "心理咨询师", "咨询师", "支持者")
PREFIXED = re.compile(
    rf"(?P<label>(?:{'|'.join(TURN_LABELS)})(?:\d|（[^（）]{{1,12}}）)?)\s*[:：]\s*"
)

Turn = tuple[str, str]

LIST_KEYS = ("conversations", "messages", "conversation")


def detect_form(row: Any) -> str | None:
    """The form of a row, from its content.

    One of FORMS, "" when its list of turns is empty (any form), None when unknown.
    """
    if isinstance(row, dict):
        for key in LIST_KEYS:
            if key in row:
                return _form_of_list(row[key])
        if "instruction" in row and "output" in row:
            return "alpaca"
        if "query" in row and "response" in row:
            return "query_response"
        text = row.get("text", row.get("dialogue"))
        return "prefixed_text" if isinstance(text, str) and PREFIXED.match(text.lstrip()) else None
    if (
        isinstance(row, list)
        and row
        and isinstance(row[0], str)
        and PREFIXED.match(row[0].lstrip())
    ):
        return "prefixed_text"
    return None


def _form_of_list(turns: Any) -> str | None:
    if not isinstance(turns, list):
        return None
    first = next((turn for turn in turns if turn), None)
    if first is None:
        return ""
    if not isinstance(first, dict):
        return None
    if "from" in first and "value" in first:
        return "sharegpt"
    if "role" in first and "content" in first:
        return "messages"
    return "pairs" if "input" in first and "output" in first else None


def read_turns(row: Any, form: str) -> list[Turn] | None:
    """The (label, text) turns of a row in a known form; None where a turn is missing, half there
    or not text.
    """
    try:
        turns = FORMS[form](row)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):
        return None
    whole = all(isinstance(label, str) and isinstance(text, str) for label, text in turns)
    return turns if whole else None


def _turn_list(row: dict[str, Any]) -> list[Any]:
    return next(row[key] for key in LIST_KEYS if key in row)


def _system(row: dict[str, Any]) -> list[Turn]:
    """A system prompt that stands beside the turns (ms-swift and LLaMA-Factory read `system`
    so).
    """
    text = row.get("system") or row.get("system_prompt")
    return [("system", text)] if text else []


def _sharegpt(row: dict[str, Any]) -> list[Turn]:
    return _system(row) + [(turn["from"], turn["value"]) for turn in _turn_list(row)]


OPENAI_ROLES = {"user": "human", "assistant": "gpt"}


def _messages(row: dict[str, Any]) -> list[Turn]:
    return _system(row) + [
        (OPENAI_ROLES.get(turn["role"], turn["role"]), turn["content"]) for turn in _turn_list(row)
    ]


def _pairs(row: dict[str, Any]) -> list[Turn]:
    turns = _system(row)
    for pair in _turn_list(row):
        turns += _system(pair) + [("human", pair["input"]), ("gpt", pair["output"])]
    return turns


def _history(row: dict[str, Any]) -> list[Turn]:
    """`history` holds the earlier (client, counsellor) pairs."""
    turns: list[Turn] = []
    for client, counsellor in row.get("history") or []:
        turns += [("human", client), ("gpt", counsellor)]
    return turns


def _alpaca(row: dict[str, Any]) -> list[Turn]:
    asked = "\n".join(part for part in (row["instruction"], row.get("input") or "") if part)
    return _system(row) + _history(row) + [("human", asked), ("gpt", row["output"])]


def _query_response(row: dict[str, Any]) -> list[Turn]:
    return _system(row) + _history(row) + [("human", row["query"]), ("gpt", row["response"])]


_PARAGRAPH = re.compile(rf"\n\s*\n|\n(?=(?:{'|'.join(TURN_LABELS)})[^\n：:]{{0,12}}[:：])")
_LABELLED_LINE = re.compile(r"(?P<label>[^\s:：。，？！（(\d][^\s:：。，？！]{0,15})\s*[:：]\s*")


def _prefixed_text(row: dict[str, Any] | list[str]) -> list[Turn]:
    """Turns told by a label and a colon.

    In running text a turn starts at a paragraph; one without a label continues the last.
    """
    if isinstance(row, list):
        parts = row
    else:
        text = row.get("text", row.get("dialogue"))
        parts = _PARAGRAPH.split(text.replace("\r\n", "\n").strip())
    turns: list[Turn] = []
    for part in parts:
        part = part.strip()
        match = PREFIXED.match(part) or _LABELLED_LINE.match(part)
        if match:
            turns.append((match["label"], part[match.end() :]))
        elif part:
            label, text = turns[-1]
            turns[-1] = (label, f"{text}\n\n{part}")
    return turns


FORMS = {
    "sharegpt": _sharegpt,
    "messages": _messages,
    "pairs": _pairs,
    "alpaca": _alpaca,
    "query_response": _query_response,
    "prefixed_text": _prefixed_text,
}
