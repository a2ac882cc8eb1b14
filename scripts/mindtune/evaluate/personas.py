"""The personas of simulated clients: who they are, what they tell when asked, and what they hide.

resources/clients/personas.yaml and styles.yaml hold them. No method of self-harm stands in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.config_errors import check_known, nearest
from mindtune.strict_yaml import read_strictly

LANGUAGES = ("zh", "en")
RISKS = ("none", "passive", "active")
KEYS = ("lang", "concern", "risk", "disclosure", "about", "opening", "facts", "hidden")


@dataclass(frozen=True)
class Style:
    """How a client discloses: from which turn on the hidden thing may be said, what a simulated
    client is told of it, and what the scripted one says when nothing was asked.
    """

    after: int
    told: str
    fillers: tuple[str, ...]


@dataclass(frozen=True)
class Persona:
    """A client. `hidden` is said late or never, `found_by` are words that show that it was."""

    name: str
    lang: str
    concern: str
    risk: str
    disclosure: str
    about: str
    opening: str
    facts: tuple[str, ...]
    hidden: str
    found_by: tuple[str, ...]
    style: Style

    def said(self) -> dict[str, Any]:
        """Everything that makes this client, for its hash."""
        return asdict(self)


def text_of(value: Any, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where} is {value!r}, not text; write a sentence")
    return value


def texts_of(value: Any, where: str) -> tuple[str, ...]:
    """A list of different texts."""
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise UserError(f"{where} is {value!r}; expected a list of different texts")
    return tuple(text_of(entry, where) for entry in value)


def one_of(value: Any, known: Sequence[str], where: str) -> str:
    """A value out of a few."""
    if value not in known:
        raise UserError(f"{where} is {value!r}; expected one of {', '.join(known)}")
    return value


def check_keys(said: Any, wanted: Sequence[str], where: str) -> Mapping[str, Any]:
    """A mapping with these keys and no other."""
    if not isinstance(said, dict):
        raise UserError(f"{where} is {said!r}; expected the keys {', '.join(wanted)}")
    check_known(said, wanted, where)
    if missing := [key for key in wanted if key not in said]:
        raise UserError(f"{where}: the key {missing[0]} is missing; write it")
    return said


def read_styles(path: Path) -> dict[tuple[str, str], Style]:
    """{(disclosure, language): style}."""
    styles = {}
    for name, said in read_strictly(path).items():
        where = f"{path}: {name}"
        check_keys(said, ("after", "told", "fillers"), where)
        if not isinstance(said["after"], int) or isinstance(said["after"], bool):
            raise UserError(f"{where}.after is {said['after']!r}; give a number of turns")
        for part in ("told", "fillers"):
            check_keys(said[part], LANGUAGES, f"{where}.{part}")
        for lang in LANGUAGES:
            fillers = texts_of(said["fillers"][lang], f"{where}.fillers.{lang}")
            told = text_of(said["told"][lang], f"{where}.told.{lang}")
            styles[name, lang] = Style(said["after"], told, fillers)
    return styles


def read_personas(path: Path, styles: Mapping[tuple[str, str], Style]) -> list[Persona]:
    """The personas in the file's order; a UserError names the persona and the key."""
    found = []
    for name, said in read_strictly(path).items():
        where = f"{path}: {name}"
        check_keys(said, KEYS, where)
        lang = one_of(said["lang"], LANGUAGES, f"{where}.lang")
        kinds = sorted({disclosure for disclosure, _ in styles})
        disclosure = one_of(said["disclosure"], kinds, f"{where}.disclosure")
        hidden = check_keys(said["hidden"], ("say", "words"), f"{where}.hidden")
        words = texts_of(hidden["words"], f"{where}.hidden.words")
        if absent := [word for word in words if word not in str(hidden["say"])]:
            raise UserError(f"{where}.hidden.words has {absent[0]!r}, which `say` does not hold")
        found.append(
            Persona(
                name,
                lang,
                text_of(said["concern"], f"{where}.concern"),
                one_of(said["risk"], RISKS, f"{where}.risk"),
                disclosure,
                text_of(said["about"], f"{where}.about"),
                text_of(said["opening"], f"{where}.opening"),
                texts_of(said["facts"], f"{where}.facts"),
                text_of(hidden["say"], f"{where}.hidden.say"),
                words,
                styles[disclosure, lang],
            )
        )
    return found


def chosen(personas: Sequence[Persona], names: Sequence[str] | None) -> list[Persona]:
    """The personas of these names, in the file's order; all without names."""
    known = {persona.name: persona for persona in personas}
    for name in names or ():
        if name not in known:
            raise UserError(
                f"config key evaluate.conversations.personas names {name!r}, which is no persona; "
                f"the nearest is {nearest(name, known)}"
            )
    return [one for one in personas if names is None or one.name in names]
