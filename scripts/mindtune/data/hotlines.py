"""Official help lines: which numbers they are, and which the text itself calls one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from mindtune.cli import UserError
from mindtune.strict_yaml import read_strictly

LINE_WORDS = re.compile(
    r"热线|援助电话|求助电话|援助专线|危机干预|生命线|心理援助|hotline|helpline|help "
    r"line|lifeline|samaritans|crisis (?:text )?(?:line|cent|support)|"
    r"suicide prevention",
    re.IGNORECASE,
)
_MOST_BETWEEN = 24  # characters between a help line's name and its number
_CLAUSE_END = re.compile(
    r"[。！？!?\n；;]|(?:我|他|她|家)的?(?:电话|手机|号码)|\bmy (?:phone|number|cell)"
)
_NO_DIGIT = re.compile(r"\D")
_HEAD = re.compile(r"[+\d ()-]{0,8}\Z")  # what may stand before a number and belong to it


@dataclass(frozen=True)
class Hotlines:
    """Official help lines by their digits; they may also be written without the area code."""

    digits: frozenset[str]

    @cached_property
    def tails(self) -> frozenset[str]:
        """The last three digits of the lines: most numbers end in others."""
        return frozenset(number[-3:] for number in self.digits)

    def holds(self, number: str) -> bool:
        """True for a listed number, however it is spaced, with or without +86 or the area code."""
        found = _NO_DIGIT.sub("", number)
        found = found[2:] if found.startswith("86") and len(found) > 11 else found
        return found in self.digits or (
            7 <= len(found) <= 8
            and any(line.startswith("0") and line.endswith(found) for line in self.digits)
        )


def _written(entry: Mapping[str, object]) -> set[str]:
    """The digits of a line as it may be written: at home, and with its country's calling code."""
    home = re.sub(r"\D", "", str(entry["number"]))
    if not (code := str(entry.get("calling_code", ""))):
        return {home}
    local = home.removeprefix("0")
    if code == "1":  # 1-800-... and 800-...
        return {home, home.removeprefix("1")}
    return {home, code + local, f"00{code}{local}"}


@lru_cache(maxsize=2)
def load_hotlines(path: str | Path) -> Hotlines:
    """Read once config/hotlines.yaml: a list `hotlines` of entries with a `number`."""
    if not Path(path).is_file():
        raise UserError(
            f"{path} is missing; give the list of official hotlines that must stay unmasked"
        )
    content = read_strictly(Path(path))
    try:
        lines = [_written(entry) for entry in content["hotlines"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a list `hotlines:` of entries with a quoted `number:` ({error})"
        ) from error
    return Hotlines(frozenset(number for line in lines for number in line))


@lru_cache(maxsize=2)  # asked for every number of a text
def _speaks_of_lines(text: str) -> bool:
    return LINE_WORDS.search(text) is not None


def called_a_line(text: str, start: int, end: int) -> bool:
    """True when the number at this place is named beside a help line's name, in the same clause."""
    if not _speaks_of_lines(text):
        return False
    before = text[max(start - _MOST_BETWEEN, 0) : start]
    for match in LINE_WORDS.finditer(before):
        if not _CLAUSE_END.search(before, match.end()):
            return True
    after = LINE_WORDS.search(text, end, end + _MOST_BETWEEN // 2)
    return after is not None and not _CLAUSE_END.search(text, end, after.start())


def is_listed(text: str, start: int, end: int, hotlines: Hotlines) -> bool:
    """True for a listed number, or the part of one: `800-273-8255` in `1-800-273-8255`."""
    tail = text[end - 3 : end]
    if tail.isdecimal() and tail not in hotlines.tails:
        return False
    head = _HEAD.search(text, max(start - 8, 0), start)
    longer = text[start - len(head[0]) if head else start : end]
    return hotlines.holds(text[start:end]) or hotlines.holds(longer)
