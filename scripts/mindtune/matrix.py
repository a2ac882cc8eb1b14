"""The runs that `matrix:` stands for: every combination of its values is a run with a name that
says what it is.

A name is made from the run's own values alone, never from their places in the lists: a value more
on one axis adds runs and renames none.
"""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from mindtune.cli import UserError

MOST_RUNS = 5000
MOST_NAME = 64  # characters, as the schema has it for runs
MOST_VALUE = 24  # characters of a value in a name; a longer one is named by its hash


def axes_schema(run_keys: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of `matrix.*`: for every key of a run a list of its values, or null."""
    found = {}
    for key, part in run_keys.items():
        if "properties" in part:
            found[key] = {"type": ["object", "null"], "additionalProperties": False,
                          "description": "lists of values, a run each",
                          "properties": axes_schema(part["properties"])}  # fmt: skip
        else:
            found[key] = {"type": ["array", "null"], "minItems": 1, "items": part,
                          "description": "a list of values, a run each"}  # fmt: skip
    return found


def expand(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the runs of its checked `matrix` beside its own, and no matrix.

    `runs: {NAME: null}` takes one combination out.
    """
    rest = {key: value for key, value in config.items() if key != "matrix"}
    axes = list(values_by_key(config.get("matrix") or {}))
    if not axes:
        return rest
    if ("dataset",) not in dict(axes):
        raise UserError(
            "config key matrix lacks dataset; add the names of the datasets to train on, as in "
            "matrix: {dataset: [mh], seed: [42, 43]}"
        )
    own = dict(config.get("runs") or {})
    made: dict[str, Any] = {}
    for name, run in combinations(axes):
        if name in made:
            raise UserError(
                f"config key matrix makes the run {name} twice; two of its values are written "
                f"alike, so remove one"
            )
        if own.get(name) is not None:
            raise UserError(
                f"config key runs.{name} is a combination of matrix already; rename it, or write "
                f"runs: {{{name}: null}} to take that combination out"
            )
        made[name] = run
    return rest | {"runs": own | {name: run for name, run in made.items() if name not in own}}


def values_by_key(
    matrix: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """(path of a run's key, its values) of every axis; `dataset` first, then by name."""
    for key in sorted(matrix, key=lambda key: (key != "dataset", key)):
        value = matrix[key]
        if isinstance(value, Mapping):
            yield from values_by_key(value, (*path, key))
        elif value is not None:
            yield (*path, key), value


def combinations(
    axes: list[tuple[tuple[str, ...], list[Any]]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, settings) of every combination of the axes' values."""
    count = 1
    for _, values in axes:
        count *= len(values)
    if count > MOST_RUNS:
        raise UserError(
            f"config key matrix makes {count:,} runs, and at most {MOST_RUNS:,} are planned; take "
            f"fewer values"
        )
    keys = [path for path, _ in axes]
    for chosen in itertools.product(*(values for _, values in axes)):
        run: dict[str, Any] = {}
        for path, value in zip(keys, chosen, strict=True):
            place = run
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = value
        yield run_name(dict(zip(keys, chosen, strict=True))), run


def run_name(values: Mapping[tuple[str, ...], Any]) -> str:
    """`mh-learning_rate1e-4-rank8-seed42`: a folder's name, so without dots."""
    words = [
        in_a_name(value) if path == ("dataset",) else f"{path[-1]}{in_a_name(value)}"
        for path, value in values.items()
    ]
    name = "-".join(words)
    if len(name) > MOST_NAME:
        raise UserError(
            f"config key matrix makes a run with the name {name}, which has {len(name)} characters "
            f"and may have {MOST_NAME}; take fewer keys, or write these runs under runs"
        )
    return name


def in_a_name(value: Any) -> str:
    """A value in letters, digits and `-`: 0.00015 is 15e-5, true is true, a list is a hash."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = Decimal(repr(value)).normalize()
        _, digits, exponent = number.as_tuple()
        whole = "".join(map(str, digits))
        sign = "-" if number < 0 else ""
        return f"{sign}{int(number)}" if exponent >= 0 else f"{sign}{whole}e{exponent}"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if re.fullmatch(f"[A-Za-z0-9_-]{{1,{MOST_VALUE}}}", text):
        return text
    return hashlib.sha256(text.encode()).hexdigest()[:8]
