"""The forms in which published sets hold a dialogue, told from a row's content, and the turns of
each.

A parser takes exactly what its form says, by type: anything else makes the row malformed, and is
never taken for text.
"""

from typing import Any

from mindtune.data.form_keys import LIST_KEYS, PREFIXED, key_of, pair_of, turn_of
from mindtune.data.labelled_text import labelled, labelled_turns, split_turns
from mindtune.data.labels import ContextOnly

Turn = tuple[str, str]
UNKNOWN_ROWS = 1000  # of a file, after which a form must have been found


def detect_form(row: Any) -> str | None:
    """The form of a row, from its content.

    One of FORMS, "" when its list of turns is empty (any form), None when unknown.
    """
    if isinstance(row, list):
        return _form_of_list(row) or None
    if not isinstance(row, dict):
        return None
    if key_of(row, ("chosen",)) and key_of(row, ("rejected",)):
        return "preference"
    if (key := _list_key(row)) is not None:
        return _form_of_list(row[key])
    if "instruction" in row and "output" in row:
        return "alpaca"
    if "query" in row and "response" in row:
        return "query_response"
    if pair_of(row):
        return "question_answer"
    return "prefixed_text" if labelled(row) is not None else None


def _list_key(row: dict[str, Any]) -> str | None:
    """The key of the turns; one that holds text is none (`dialogue` may hold either)."""
    return next((key for key in LIST_KEYS if key in row and not isinstance(row[key], str)), None)


def _form_of_list(turns: Any) -> str | None:
    if not isinstance(turns, list):
        return None
    first = next((turn for turn in turns if turn), None)
    if first is None:
        return ""
    if isinstance(first, str):
        return "prefixed_text" if PREFIXED.match(first.lstrip()) else None
    if not isinstance(first, dict):
        return None
    if "from" in first and "value" in first:
        return "sharegpt"
    if "role" in first and "content" in first:
        return "messages"
    if turn_of(first):
        return "speaker_text"
    if pair_of(first):
        return "pairs"
    return "alternating" if "message" in first else None


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


# --------------------------------------------------------------------------------------- turns


def _turn_list(row: Any) -> list[Any]:
    turns = row if isinstance(row, list) else row[_list_key(row)]
    if not isinstance(turns, list):
        raise TypeError
    return turns


def _system(row: Any) -> list[Turn]:
    """A system prompt that stands beside the turns (ms-swift and LLaMA-Factory read `system`
    so).
    """
    text = (row.get("system") or row.get("system_prompt")) if isinstance(row, dict) else None
    return [("system", text)] if text else []


OPENAI_ROLES = {"user": "human", "assistant": "gpt"}


def _of(said: dict[str, Any], label: Any) -> Any:
    """The label of a turn or reply; context only where its source gives it no weight (`weight: 0`,
    as OpenAI and LLaMA-Factory write it, or `loss: false`, as ms-swift does).
    """
    weighs = said.get("weight", 1) != 0 and said.get("loss") is not False
    return label if weighs or not isinstance(label, str) else ContextOnly(label)


def _text(content: Any) -> str:
    """A turn's text; of OpenAI's content parts, only text can be read."""
    if isinstance(content, list) and content:
        if any(part.get("type", "text") != "text" for part in content):
            raise ValueError("a part that is no text")
        content = "\n".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise TypeError("no text")
    return content


def _one(turn: dict[str, Any]) -> Turn:
    """One turn, whatever its speaker and its text are called."""
    speaker, text = turn_of(turn)
    label = turn[speaker]
    role = OPENAI_ROLES.get(label, label) if speaker == "role" else label
    return _of(turn, role), _text(turn[text])


def _sharegpt(row: Any) -> list[Turn]:
    turns = [(_of(turn, turn["from"]), turn["value"]) for turn in _turn_list(row)]
    return _system(row) + turns


def _messages(row: Any) -> list[Turn]:
    turns = [(turn, turn["role"], _text(turn["content"])) for turn in _turn_list(row)]
    return _system(row) + [
        (_of(turn, OPENAI_ROLES.get(role, role)), text) for turn, role, text in turns
    ]


def _listed(row: Any) -> list[Turn]:
    return _system(row) + [_one(turn) for turn in _turn_list(row)]


def _alternating(row: Any) -> list[Turn]:
    """Turns without a speaker, as in KdConv: the client begins."""
    roles = ("human", "gpt")
    turns = enumerate(_turn_list(row))
    return _system(row) + [(roles[at % 2], _text(turn["message"])) for at, turn in turns]


def _pair(row: dict[str, Any]) -> list[Turn]:
    question, answer = pair_of(row)
    return [("human", _text(row[question])), (_of(row, "gpt"), _text(row[answer]))]


def _pairs(row: Any) -> list[Turn]:
    turns = _system(row)
    for pair in _turn_list(row):
        turns += _system(pair) + _pair(pair)
    return turns


def _history(row: dict[str, Any]) -> list[Turn]:
    """`history` holds what was said before: pairs, turns, or text with labels."""
    history = row.get("history") or []
    if isinstance(history, str):
        return split_turns(history)
    if not isinstance(history, list):
        raise TypeError
    if all(isinstance(part, str) for part in history):
        if not history or PREFIXED.match(history[0].lstrip()):
            return labelled_turns(history)
        if len(history) % 2:
            raise ValueError("a history without its last reply")
        return [(("human", "gpt")[at % 2], text) for at, text in enumerate(history)]
    return [turn for part in history for turn in _earlier(part)]


def _earlier(part: Any) -> list[Turn]:
    """One part of a history: a (client, counsellor) pair or a turn."""
    if isinstance(part, list):
        client, counsellor = part
        return [("human", _text(client)), ("gpt", _text(counsellor))]
    return [_one(part)] if turn_of(part) else _pair(part)


def _alpaca(row: dict[str, Any]) -> list[Turn]:
    parts = [_text(row["instruction"]), _text(row.get("input") or "")]
    asked = "\n".join(part for part in parts if part)
    return (
        _system(row) + _history(row) + [("human", asked), (_of(row, "gpt"), _text(row["output"]))]
    )


def _question_answer(row: dict[str, Any]) -> list[Turn]:
    return _system(row) + _history(row) + _pair(row)


def _query_response(row: dict[str, Any]) -> list[Turn]:
    asked, answered = _text(row["query"]), _text(row["response"])
    return _system(row) + _history(row) + [("human", asked), (_of(row, "gpt"), answered)]


def _preference(row: dict[str, Any]) -> list[Turn]:
    """The reply that was chosen, after its prompt; the rejected one is not read."""
    chosen = row[key_of(row, ("chosen",))]
    if isinstance(chosen, dict):
        chosen = [chosen]
    if isinstance(chosen, list):
        chosen = [_one(turn) for turn in chosen]
        if chosen[0][0] in ("human", "system"):
            return _system(row) + chosen
    elif PREFIXED.match(chosen.lstrip()):
        return split_turns(chosen)
    else:
        chosen = [("gpt", _text(chosen))]
    if _list_key(row):
        before = _listed(row)
    else:
        asked = row[key_of(row, ("prompt", "question", "query", "instruction", "input"))]
        before = [_one(turn) for turn in asked] if isinstance(asked, list) else [("human", asked)]
        before = _system(row) + _history(row) + before
    if before[-1][0] == "gpt":
        raise ValueError("a reply before the chosen reply")
    return before + chosen


def _prefixed_text(row: Any) -> list[Turn]:
    """Turns told by a label and a colon."""
    return labelled_turns(row) if isinstance(row, list) else split_turns(labelled(row))


FORMS = {
    "sharegpt": _sharegpt,
    "messages": _messages,
    "speaker_text": _listed,
    "alternating": _alternating,
    "pairs": _pairs,
    "alpaca": _alpaca,
    "query_response": _query_response,
    "question_answer": _question_answer,
    "preference": _preference,
    "prefixed_text": _prefixed_text,
}
