"""Which settings differ between what a job was made with and what it would be made with now.

Snakemake stores a job's parameters as texts, without their names. Most of them are JSON of several
settings, so a stored text is the older version of that parameter with which it shares most keys.
A setting is called by its key in the configuration: the key that ends in its name and has its
value.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from mindtune.code import changed, hash_of_digests
from mindtune.config import leaves
from mindtune.records import read_json

STARTS = Path(".snakemake/mindtune")
ABSENT = object()
LONGEST = 60  # signs of a value in a sentence
PROGRAM = re.compile(r"([\w/]+\.py)")


def read_starts(folder: Path = STARTS) -> list[dict[str, Any]]:
    """What earlier starts wrote down (mindtune.start), the latest first."""
    paths = sorted(folder.glob("*.json"), key=lambda path: (-path.stat().st_mtime, path.name))
    return [read_json(path) for path in paths]


def parsed(value: Any) -> Any:
    """A parameter's settings, if it is JSON of a mapping; otherwise itself."""
    try:
        found = json.loads(value)
    except (TypeError, ValueError):
        return value
    return found if isinstance(found, dict) else value


def pairs(old: Sequence[Any], new: Sequence[Any]) -> list[tuple[Any, Any]]:
    """(old, new) values of the parameters that changed; ABSENT stands for the missing half."""
    waiting = [parsed(value) for value in old]
    found = []
    for value in sorted(map(parsed, new), key=lambda value: not isinstance(value, dict)):
        alike = [other for other in waiting if likeness(other, value)]
        best = max(alike, key=lambda other: likeness(other, value), default=ABSENT)
        if best is not ABSENT:
            waiting.remove(best)
        found.append((best, value))
    return found + [(value, ABSENT) for value in waiting]


def likeness(one: Any, other: Any) -> float:
    """The share of keys that two parameters have in common; 1 for two texts, 0 for a text and a
    mapping.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return len(one.keys() & other.keys()) / max(1, len(one.keys() | other.keys()))
    return float(not isinstance(one, dict) and not isinstance(other, dict))


def differences(old: Any, new: Any) -> list[tuple[tuple[str, ...], Any, Any]]:
    """(path, old value, new value) of every leaf that differs; the path of a bare text is
    empty.
    """
    sides = [
        {} if side is ABSENT else dict(leaves(side if isinstance(side, dict) else side))
        for side in (old, new)
    ]
    paths = sorted(sides[0].keys() | sides[1].keys())
    both = [(path, *(side.get(path, ABSENT) for side in sides)) for path in paths]
    return [
        (path, was, now) for path, was, now in both if was is ABSENT or now is ABSENT or was != now
    ]


def config_key(
    path: tuple[str, ...],
    was: Any,
    now: Any,
    configs: Sequence[Mapping[str, Any]],
    words: Iterable[str],
) -> str:
    """The key of the configuration that a parameter's leaf comes from; `configs` are the present
    configuration and then those of earlier starts, `words` the job's wildcards.
    """
    for config, value in zip(configs, (now, *[was] * len(configs)), strict=False):
        if value is ABSENT:
            continue
        keys = [
            key for key, found in leaves(config) if key[-len(path) :] == path and found == value
        ]
        # what a suite's file says stands there too, after what the configuration says of it
        keys = [key for key in keys if key[0] not in ("suites", "rubrics")] or keys
        if len(keys) > 1 and (other := now if value is was else was) is not ABSENT:
            others = [dict(leaves(each)) for each in configs if each is not config]
            keys = [k for k in keys if any(side.get(k, ABSENT) == other for side in others)] or keys
        if len(keys) > 1:
            keys = [key for key in keys if set(key) & set(words)] or keys
        if len(keys) == 1:
            return ".".join(keys[0])
    return ".".join(path)


def shown(value: Any) -> str:
    """A value in a sentence; a small number as YAML needs it, 2.0e-4."""
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{Decimal(repr(value)).normalize():e}".split("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    text = text if text.isprintable() else json.dumps(text, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} signs)"


def sentence_of(key: str, was: Any, now: Any) -> str:
    """`train.learning_rate was 2.0e-4 and is 1.0e-4`."""
    if was is ABSENT:
        return f"{key} is new, and is {shown(now)}"
    if now is ABSENT:
        return f"{key} was {shown(was)} and is gone"
    one, other = shown(was), shown(now)
    if one == other:
        return f"{key} changed: {first_difference(str(was), str(now))}"
    return f"{key} was {one} and is {other}"


def first_difference(was: str, now: str) -> str:
    """Where two long texts part, with some signs around."""
    place = next(
        (at for at, (one, other) in enumerate(zip(was, now, strict=False)) if one != other),
        min(len(was), len(now)),
    )
    start = max(0, place - 12)
    return (
        f"at sign {place + 1} it was …{was[start : place + 20]!r} and is "
        f"…{now[start : place + 20]!r}"
    )


def changed_code(program_text: str, old: str, starts: Sequence[Mapping[str, Any]]) -> str:
    """Which file below scripts/ changed since the code had the hash `old`: `starts` hold the
    digests of every file that a program used then.
    """
    programs = [name.split("/")[-1] for name in PROGRAM.findall(program_text)]
    program = next((name for name in programs), "its program")
    for start in starts:
        for files in start.get("programs", {}).values():
            if hash_of_digests(files) == old and (names := list(changed(files))):
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                return f"{', '.join('scripts/' + name for name in names[:3])}{more} changed"
    return f"scripts/{program} or a module that it uses changed"
