"""Why a dialogue is rejected for what is said in it: one named test a reason.

A test first looks for words without which its pattern cannot match: most dialogues have none of
them, and looking for a word is a hundred times faster than trying the pattern at every character.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mindtune.data.identity import (
    BROKEN_WORDS,
    MACHINE_IDENTITY,
    MACHINE_IDENTITY_WORDS,
    OTHER_MODEL,
    OTHER_MODEL_WORDS,
    REFUSAL,
    REFUSAL_WORDS,
    SPEAKS_OF_ENCODINGS,
)
from mindtune.data.labels import LABEL_WORDS, has_colon, has_foreign_label, has_own_label
from mindtune.data.language import NOT_HAN, asks_for_language, language_of
from mindtune.data.markup import without_code
from mindtune.data.repetition import loops, said_again

Turn = tuple[str, str]
Turns = list[Turn]


@dataclass(frozen=True)
class Rules:
    """What the tests need to know beside the turns."""

    min_turns: int
    languages: frozenset[str]
    special: re.Pattern[str]


Test = Callable[[Rules, Turns, str], bool]


def _in_turns(pattern: re.Pattern[str], words: Sequence[str], *roles: str) -> Test:
    """True when the pattern is found in a turn of these roles."""
    worth_trying = re.compile("|".join(map(re.escape, words)))

    def test(rules: Rules, turns: Turns, lowered: str) -> bool:
        return worth_trying.search(lowered) is not None and any(
            role in roles and pattern.search(text) is not None for role, text in turns
        )

    return test


def _broken_text(rules: Rules, turns: Turns, lowered: str) -> bool:
    return any(word in lowered for word in BROKEN_WORDS) and not SPEAKS_OF_ENCODINGS.search(lowered)


def _special(rules: Rules, turns: Turns, lowered: str) -> bool:
    return any(rules.special.search(text) for _, text in turns)


def _too_few(rules: Rules, turns: Turns, lowered: str) -> bool:
    return sum(role != "system" for role, _ in turns) < rules.min_turns


def _role_tag(rules: Rules, turns: Turns, lowered: str) -> bool:
    """A speaker's label inside a turn that no repair took away."""
    return (
        has_colon(lowered)
        and LABEL_WORDS.search(lowered) is not None
        and (has_foreign_label(turns) or has_own_label(turns))
    )


def _repetition(rules: Rules, turns: Turns, lowered: str) -> bool:
    """A counsellor's turn that loops, or that is said again and again."""
    spoken = [text for role, text in turns if role == "gpt"]
    return said_again(spoken) or any(map(loops, spoken))


def _wrong_language(rules: Rules, turns: Turns, lowered: str) -> bool:
    """Client or counsellor speaks another language than those wanted, or the two do not speak the
    same one.
    """
    if not NOT_HAN.search(lowered):
        return "zh" not in rules.languages
    if asks_for_language(turns):
        return False
    spoken = {
        wanted: [without_code(text) for role, text in turns if role == wanted]
        for wanted in ("human", "gpt")
    }
    client, counsellor = (
        {*map(language_of, texts), language_of("\n".join(texts))} - {None}
        for texts in spoken.values()
    )
    return bool(client and counsellor - client) or not client | counsellor <= rules.languages


CONTENT_REJECTIONS: tuple[tuple[str, Test], ...] = (
    ("role_tag_in_turn", _role_tag),
    ("refusal", _in_turns(REFUSAL, REFUSAL_WORDS, "gpt")),
    ("other_model_identity", _in_turns(OTHER_MODEL, OTHER_MODEL_WORDS, "gpt", "system")),
    ("machine_identity", _in_turns(MACHINE_IDENTITY, MACHINE_IDENTITY_WORDS, "gpt")),
    ("broken_text", _broken_text),
    ("repetition", _repetition),
    ("wrong_language", _wrong_language),
    ("special_token", _special),
    ("too_few_turns", _too_few),
)
