"""The names that published sets give to the parts of a dialogue."""

import re
from collections.abc import Iterable
from typing import Any

# The labels that published sets print before a turn, as in `来访者：你好`. Any other label of the
# same shape is kept as the turn's role, and is for the cleaning to accept or refuse.
TURN_LABELS = (
    "来访者", "求助者", "倾诉者", "患者", "病人", "用户", "心理咨询师", "咨询师", "支持者",
    "倾听者", "助人者", "医生", "助手",
    "client", "seeker", "patient", "user", "human", "counselor", "counsellor", "therapist",
    "supporter", "listener",
    "helper", "doctor", "assistant",
)  # fmt: skip
_LABELS = "|".join(TURN_LABELS)
PREFIXED = re.compile(
    rf"(?P<label>(?:{_LABELS})(?:\d|（[^（）]{{1,12}}）)?)\s*[:：]\s*", re.IGNORECASE
)

# A list of turns stands under one of these
LIST_KEYS = (
    "conversations", "messages", "conversation", "dialog", "dialogue", "dialogs", "dialogues",
    "turns", "utterances",
)  # fmt: skip
SPEAKERS = ("from", "role", "speaker", "interlocutor", "author")
TEXTS = ("value", "content", "text", "utterance", "utterance_text", "message")
PAIRS = (
    ("input", "output"), ("question", "answer"), ("q", "a"), ("query", "response"), ("prompt",
        "completion"),
    ("prompt", "response"), ("context", "response"), ("user", "assistant"), ("human", "assistant"),
    ("instruction", "output"), ("questiontext", "answertext"),
)  # fmt: skip
EXAM = ("options", "choices", "option_a", "optiona")
# What turns of one dialogue have in common where each is a row of its own
DIALOGUE_IDS = (
    "dialogue_id", "dialog_id", "conversation_id", "conv_id", "session_id", "transcript_id",
    "chat_id",
)  # fmt: skip


def key_of(row: dict[str, Any], names: Iterable[str]) -> str | None:
    """The row's own key that is one of the names, upper case or lower; the first name wins."""
    own = {key.lower(): key for key in row if isinstance(key, str)}
    return next((own[name] for name in names if name in own), None)


def pair_of(row: dict[str, Any]) -> tuple[str, str] | None:
    """The row's own keys of a question and its answer; an exam's answer, a letter, is none."""
    if key_of(row, EXAM) is not None:
        return None
    for names in PAIRS:
        question, answer = (key_of(row, (name,)) for name in names)
        if question is not None and answer is not None:
            return question, answer
    return None


def turn_of(row: Any) -> tuple[str, str] | None:
    """The keys of speaker and text, if a value is one turn."""
    if not isinstance(row, dict):
        return None
    speaker = key_of(row, SPEAKERS)
    text = key_of(row, TEXTS)
    return (speaker, text) if speaker is not None and text is not None else None


def is_turn(row: Any) -> bool:
    """True for a value that is one turn: a speaker's name, and what they say."""
    keys = turn_of(row)
    return bool(keys) and isinstance(row[keys[0]], str) and isinstance(row[keys[1]], str | list)
