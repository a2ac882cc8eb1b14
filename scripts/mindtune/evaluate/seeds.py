"""How much of a result is the seed: mean and standard deviation of a variant over its seeds, and
paired tests between variants, from three seeds on.

A variant is the runs that differ by their seed alone (mindtune.variants). An interval here is over
seeds, on the same items: it says what another seed would give, not what other items would.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from mindtune.evaluate.compare import rounded
from mindtune.evaluate.intervals import Estimate, holm
from mindtune.evaluate.wording import interval, label, number, p_text
from mindtune.markdown import markdown_text

ENOUGH = 3
# Pairs grow with the square of the variants: of more than these nobody reads a table
MOST_VARIANTS = 10
COLUMNS = [
    "suite", "metric", "stratum", "variant", "against", "seeds", "mean", "sd", "difference",
    "low", "high", "p_alone", "p", "binary",
]  # fmt: skip
READING = (
    "Mean ± standard deviation over seeds, on the same items; n is the number of seeds. A "
    "difference is paired by seed, with the 95 % interval of Student's t over seeds, and p is "
    "adjusted for all tests of this table (Holm). With few seeds only large differences show."
)

Row = Mapping[str, Any]
Variants = Mapping[str, Mapping[str, Any]]


def by_variant(
    compared: Sequence[Row], variants: Variants, home: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str, str, str], dict[str, dict[Any, Row]]]:
    """{(suite, metric, stratum, home): {variant: {seed: row}}} of the primary metrics. `home` is
    `tables.homes`: only runs with the same one answered the same prompts.
    """
    found: dict[Any, dict[str, dict[Any, Row]]] = {}
    for row in compared:
        if row["primary"]:
            key = row["suite"], row["metric"], row["stratum"], home[row["run"], row["suite"]]
            mine = variants[row["run"]]
            seeds = found.setdefault(key, {}).setdefault(mine["variant"], {})
            seeds.setdefault(mine["seed"], row)
    return found


def over_seeds(differences: Sequence[float]) -> dict[str, Any]:
    """Mean, 95 % interval and p of paired differences, one a seed; needs at least two."""
    error = statistics.stdev(differences) / len(differences) ** 0.5
    estimate = Estimate(statistics.fmean(differences), error, len(differences) - 1)
    low, high = estimate.interval()
    return {"difference": estimate.value, "low": low, "high": high, "p_alone": estimate.p()}


def seed_rows(
    compared: Sequence[Row], variants: Variants, home: Mapping[tuple[str, str], str]
) -> list[dict[str, Any]]:
    """Rows with the keys COLUMNS: every variant against the base, then variants against each
    other; those with fewer than three seeds in common have no row.
    """
    rows = []
    for (suite, metric, stratum, _), mine in by_variant(compared, variants, home).items():
        about = {"suite": suite, "metric": metric, "stratum": stratum}
        for name, seeds in sorted(mine.items()):
            if len(seeds) >= ENOUGH:
                tuned = [row["tuned"] for row in seeds.values()]
                rows.append(
                    about | {"variant": name, "against": "base", "seeds": len(seeds)}
                    | {"mean": statistics.fmean(tuned), "sd": statistics.stdev(tuned)}
                    | over_seeds([row["difference"] for row in seeds.values()])
                    | {"binary": any(row["binary"] for row in seeds.values())}
                )  # fmt: skip
        rows += [about | row for row in pair_rows(mine)]
    adjusted = holm([row["p_alone"] for row in rows]) if rows else []
    for row, p in zip(rows, adjusted, strict=True):
        row["p"] = p
    return [rounded(row) for row in rows]


def pair_rows(mine: Mapping[str, Mapping[Any, Row]]) -> Iterator[dict[str, Any]]:
    """Two variants against each other, over the seeds that both have."""
    names = sorted(mine) if len(mine) <= MOST_VARIANTS else []
    for one, other in combinations(names, 2):
        common = sorted(mine[one].keys() & mine[other].keys())
        if len(common) >= ENOUGH:
            tuned = [mine[other][seed]["tuned"] for seed in common]
            differences = [mine[other][seed]["tuned"] - mine[one][seed]["tuned"] for seed in common]
            yield {
                "variant": other, "against": one, "seeds": len(common),
                "mean": statistics.fmean(tuned), "sd": statistics.stdev(tuned),
                "binary": any(mine[other][seed]["binary"] for seed in common),
            } | over_seeds(differences)  # fmt: skip


def seed_table(rows: Sequence[Row]) -> pd.DataFrame:
    """All rows, as they were computed, shares from 0 to 1."""
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def seed_section(rows: Sequence[Row]) -> str:
    """The section of the summary, as Markdown; empty without a variant of three seeds."""
    if not rows:
        return ""
    cells = pd.DataFrame(
        [
            {
                "suite": row["suite"],
                "metric": label(row),
                "variant": row["variant"],
                "n": str(row["seeds"]),
                "mean ± sd": f"{number(row, 'mean')} ± {number(row, 'sd')}",
                "against": row["against"],
                "difference": number(row, "difference", "+") + interval(row),
                "p": p_text(row["p"]),
            }
            for row in rows
        ]
    )
    shown = cells.map(markdown_text).rename(columns=markdown_text)
    table = shown.to_markdown(index=False, disable_numparse=True)
    return f"## Over seeds\n\n{READING}\n\n{table}\n"
