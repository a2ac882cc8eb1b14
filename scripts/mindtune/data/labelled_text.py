"""Dialogues as running text: `用户：我睡不着。助手：多久了？`"""

import re
from collections.abc import Sequence
from typing import Any

from mindtune.data.form_keys import LIST_KEYS, PREFIXED, TEXTS, TURN_LABELS

Turn = tuple[str, str]

_CHINESE = "|".join(label for label in TURN_LABELS if not label.isascii())
_ENGLISH = "|".join(label for label in TURN_LABELS if label.isascii())
_LABEL = rf"(?:(?:{_CHINESE})[^\n：:]{{0,12}}|(?i:{_ENGLISH}))\s*[:：]"
_PARAGRAPH = re.compile(rf"\n\s*\n|\n(?={_LABEL})")
_INLINE = re.compile(rf"(?:(?<=[。！？!?…”\".])\s*|\s+)(?={_LABEL})")
_LABELLED_LINE = re.compile(r"(?P<label>[^\s:：。，？！（(\d][^\s:：。，？！]{0,15})\s*[:：]\s*")


def labelled(row: dict[str, Any]) -> str | None:
    """The text of a row that starts with a speaker's label."""
    values = (row.get(key) for key in (*TEXTS, *LIST_KEYS))
    texts = (value for value in values if isinstance(value, str))
    return next((text for text in texts if PREFIXED.match(text.lstrip())), None)


def split_turns(text: str) -> list[Turn]:
    """The turns of a text. A turn starts at a paragraph; in a text that is one paragraph, at a
    known label after the end of a sentence.
    """
    text = text.replace("\r\n", "\n").strip()
    parts = _PARAGRAPH.split(text)
    return labelled_turns(_INLINE.split(text) if len(parts) == 1 else parts)


def labelled_turns(parts: Sequence[str]) -> list[Turn]:
    """One turn a part; a part without a label continues the last turn."""
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
