"""Base and tuned against the baselines: the engine's noise, and what a prompt alone changes."""

from collections.abc import Mapping, Sequence
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


def baseline_sentences(rows: Sequence[Row]) -> list[str]:
    """The rows of `compare_baselines`, one sentence each; the engine's noise once a suite, since
    all runs on a dataset share the base.
    """
    said: dict[str, None] = {}
    several = len({row["run"] for row in rows}) > 1
    for row in rows:
        again = row["system"].startswith(AGAIN["model"])
        run = "" if again or not several else f"run {row['run']}, "
        what = (
            "the base served again, other order"
            if again
            else "tuned against the base with a counselling prompt"
        )
        values = f"{number(row, 'tuned')} against {number(row, 'base')}"
        said[
            f"{run}{row['suite']} {label(row)}, {what}: {values}, "
            f"{number(row, 'difference', '+')}{interval(row)}: {verdict(row)}"
        ] = None
    return list(said)
