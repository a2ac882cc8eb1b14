"""What a reader sees first: a sentence a suite, how runs differ, and everything that got worse."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from mindtune.evaluate.baseline_comparison import baseline_sentences
from mindtune.evaluate.compare import compare
from mindtune.evaluate.seeds import seed_section
from mindtune.evaluate.tables import comparison_table, homes
from mindtune.evaluate.wording import is_shown, is_worse, label, number, sentence
from mindtune.markdown import markdown_text

# Pairs grow with the square of the runs: of more than these nobody reads a table.
MOST_RUNS = 10
# What stands beside the overlap scores, on scales of its own.
BESIDE = {"repetition", "distinct-1", "distinct-2", "empty", "truncated", "length_ratio"}

Row = Mapping[str, Any]


def run_sentences(compared: Sequence[Row]) -> Iterator[str]:
    """The sentence of every primary metric, by run."""
    several = len({row["run"] for row in compared}) > 1
    for row in compared:
        if row["primary"]:
            yield (f"run {row['run']}, " if several else "") + sentence(row)


def floor_sentences(values: Sequence[Row], compared: Sequence[Row]) -> Iterator[str]:
    """The floors of every primary metric that has some, once a suite and stratum."""
    said = set()
    for row in compared:
        key = row["suite"], row["metric"], row["stratum"]
        floors = [
            (
                f"{found['model'].removeprefix('floor:')} "
                f"{number(found | {'binary': row['binary']}, 'value')}"
            )
            for found in map(dict, values)
            if (found["suite"], found["metric"], found["stratum"]) == key
            and found["run"] == row["run"]
            and found["model"].startswith("floor:")
            and found["value"] is not None
        ]
        if row["primary"] and floors and key not in said:
            said.add(key)
            yield f"floors of {row['suite']} {label(row)}: {', '.join(floors)}"


def between_runs(items: pd.DataFrame, values: Sequence[Row]) -> list[dict[str, Any]]:
    """The tuned models of every pair of runs that answered the same prompts, primary metrics."""
    runs, home = sorted(items["run"].unique()), homes(values)
    found = []
    for one, other in combinations(runs if len(runs) <= MOST_RUNS else (), 2):
        rows = compare(
            items,
            first={"run": one, "model": "tuned"},
            second={"run": other, "model": "tuned"},
        )
        found += [
            row | {"pair": f"{other} - {one}"}
            for row in rows
            if row["primary"] and home[one, row["suite"]] == home[other, row["suite"]]
        ]
    return found


def bullets(sentences: Sequence[str]) -> str:
    """A Markdown list."""
    return "".join(f"- {markdown_text(text)}\n" for text in sentences)


def pairs_table(rows: Sequence[Row]) -> str:
    """The comparison of runs with each other, as Markdown."""
    table = comparison_table(rows).rename(columns={"base": "first", "tuned": "second"})
    table = table.rename(columns={"tuned - base": "second - first"})
    table.insert(0, "second - first run", [row["pair"] for row in rows])
    table.insert(1, "suite", [row["suite"] for row in rows])
    shown = table.map(markdown_text).rename(columns=markdown_text)
    return shown.to_markdown(index=False, disable_numparse=True) + "\n"


def summary(
    items: pd.DataFrame,
    values: Sequence[Row],
    compared: Sequence[Row],
    over_seeds: Sequence[Row],
    against: Sequence[Row] = (),
) -> str:
    """The page that opens the report, as Markdown; `over_seeds` is `seeds.seed_rows`, `against` is
    `baseline_comparison.compare_baselines`.
    """
    said = [*run_sentences(compared), *floor_sentences(values, compared)]
    parts = ["## In one sentence each\n", bullets(said)]
    if against:
        parts += ["## Noise of the engine, and the base with a counselling prompt\n"]
        parts += [bullets(baseline_sentences(against))]
    if pairs := between_runs(items, values):
        parts += ["## Runs against each other\n", pairs_table(pairs)]
    if over_seeds:
        parts.append(seed_section(over_seeds))
    return "\n".join(parts)


def worse(compared: Sequence[Row]) -> str:
    """Everything that got worse, by however little, as Markdown: what the interval shows first,
    then the largest loss in its interval's widths.
    """

    def order(row: Row) -> tuple[bool, float]:
        width = (row["high"] - row["low"]) if row["low"] is not None else 0
        return not is_shown(row), -abs(row["difference"]) / width if width else 0.0

    rows = sorted(filter(is_worse, compared), key=order)
    tested = len([row for row in compared if row["difference"] is not None])
    lead = (
        f"{len(rows)} of {tested} comparisons got worse, {sum(map(is_shown, rows))} of them by an "
        "interval that excludes 0. Nothing is left out here."
    )
    if not rows:
        return f"## What got worse\n\n{lead}\n"
    table = comparison_table(rows)
    table.insert(0, "run", [row["run"] for row in rows])
    table.insert(1, "suite", [row["suite"] for row in rows])
    table.insert(len(table.columns), "shown", ["yes" if is_shown(row) else "no" for row in rows])
    shown = table.map(markdown_text).rename(columns=markdown_text)
    return (
        f"## What got worse\n\n{lead}\n\n{shown.to_markdown(index=False, disable_numparse=True)}\n"
    )


def plotted(compared: Sequence[Row]) -> list[Row]:
    """The rows of the forest plot: differences with an interval, of what a suite measures. Counts
    that stand beside it and ratios would set another scale.
    """
    return [row for row in compared if row["p"] is not None and row["metric"] not in BESIDE]
