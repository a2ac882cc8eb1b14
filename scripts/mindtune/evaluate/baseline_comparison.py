"""Base and tuned against the baselines: the engine's noise, and what a prompt alone changes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mindtune.evaluate.baselines import BASELINES
from mindtune.evaluate.compare import BASE, LANGUAGES, TUNED, compare
from mindtune.evaluate.items import split_metric
from mindtune.evaluate.wording import interval, is_shown, label, number

AGAIN, PROMPTED = ({"model": model} for model in BASELINES)
# {system of a row of the long table: (first, second)}
PAIRS = {
    f"{second['model']}-{first['model']}": (first, second)
    for first, second in ((BASE, AGAIN), (PROMPTED, TUNED))
}
NO_TEST = {"p": None, "p_alone": None, "mde": None}

Row = Mapping[str, Any]


def compare_baselines(items: pd.DataFrame, compared: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of `compare` for PAIRS, primary metrics alone, with the key `system`. They have an
    interval and no p: the question of a suite is asked once, of base and tuned.
    """
    primary = {(row["suite"], row["metric"]) for row in compared if row["primary"]}
    names = {text: split_metric(text).name for text in items["metric"].cat.categories}
    metrics = {name for _, name in primary}
    kept = items[items["metric"].isin([text for text, name in names.items() if name in metrics])]
    return [
        row | NO_TEST | {"system": system}
        for system, (first, second) in PAIRS.items()
        for row in compare(kept, first=first, second=second)
        if (row["suite"], row["metric"]) in primary and row["stratum"] in ("", *LANGUAGES)
    ]


def verdict(row: Row) -> str:
    """What the interval says, in words."""
    if row["low"] is None:
        return "too few to judge"
    return "differs by its interval" if is_shown(row) else "no detectable difference"


def noise_sentences(rows: Sequence[Row]) -> Iterator[str]:
    """The engine's noise, once a suite, since all runs on a dataset share the base; one sentence
    for everything that did not differ.
    """
    found = {(row["suite"], label(row)): row for row in rows}
    same = sum(row["difference"] == 0 for row in found.values())
    for (suite, what), row in found.items():
        if row["difference"]:
            yield f"{suite} {what}, the base served again in the other order: {against(row)}"
    if same:
        yield (
            f"the base served again in the other order has the same value in {same} of "
            f"{len(found)} primary metrics"
        )


def prompted_sentences(rows: Sequence[Row]) -> Iterator[str]:
    """The tuned models against the base with a counselling prompt."""
    several = len({row["run"] for row in rows}) > 1
    for row in rows:
        run = f"run {row['run']}, " if several else ""
        yield (
            f"{run}{row['suite']} {label(row)}, tuned against the base with a counselling prompt: "
            + against(row)
        )


def against(row: Row) -> str:
    """Both values, their difference and what its interval says."""
    values = f"{number(row, 'tuned')} against {number(row, 'base')}"
    return f"{values}, {number(row, 'difference', '+')}{interval(row)}: {verdict(row)}"


def baseline_sentences(rows: Sequence[Row]) -> list[str]:
    """The rows of `compare_baselines` in sentences."""
    again = [row for row in rows if row["system"].startswith(AGAIN["model"])]
    return [
        *noise_sentences(again),
        *prompted_sentences([row for row in rows if row not in again]),
    ]
