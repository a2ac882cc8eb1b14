"""Two systems on the same items: values, the paired difference, intervals by cluster, p values and
what could not have been seen.

`compare` is the one place where base meets tuned, or a run another run. It works on item scores
(items.py) alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mindtune.evaluate import intervals
from mindtune.evaluate.items import Metric
from mindtune.evaluate.parts import FORMULAS
from mindtune.evaluate.systems import Scores, both_scored, cluster_sums, score_of, scored, systems
from mindtune.primary import primary_metric

LANGUAGES = ("zh", "en")
# Metrics that count something bad, and those of which neither more nor less is better.
LOWER_IS_BETTER = {
    *("repetition", "empty", "truncated", "unparsable", "over_refusal", "over_trigger"),
    *("position_bias", "dismissal", "method_named", "diagnosis_given", "judge_failed"),
    *("recalled", "recalled_control", "claims_person"),
}
NEITHER_IS_BETTER = {"length_ratio", "names_product"}
DECIMALS = 8
BASE, TUNED = {"model": "base"}, {"model": "tuned"}
NO_INTERVAL = (None, None)


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with decimals that are the same on every machine, and no negative zero."""
    return {
        key: round(found, DECIMALS) + 0.0 if isinstance(found, float) else found
        for key, found in row.items()
    }


def better(metric: str) -> int:
    """1 if a higher value of a metric is better, -1 if a lower one is, 0 if neither."""
    return 0 if metric in NEITHER_IS_BETTER else -1 if metric in LOWER_IS_BETTER else 1


def is_binary(metric: Metric, *both: Scores) -> bool:
    """True for a mean of zeros and ones."""
    return metric.name not in FORMULAS and all(np.isin(s.values, (0, 1)).all() for s in both)


def value(metric: Metric, scores: Scores) -> tuple[float, float | None, float | None]:
    """A metric of one system with its 95 % interval, or without one below 10 clusters.

    `scores` has at least one item, and a score for every one.
    """
    sums, score = cluster_sums(scores), score_of(metric)
    if len(sums) < intervals.MIN_CLUSTERS:
        return float(score(sums.sum(axis=0)[None])[0]), *NO_INTERVAL
    estimate = intervals.jackknife(sums, score)
    if is_binary(metric, scores):
        return estimate.value, *intervals.share_interval(sums[:, 0], sums[:, 1])
    return estimate.value, *estimate.interval()


def difference(metric: Metric, first: Scores, second: Scores) -> intervals.Estimate:
    """The paired difference second - first; equal items in equal order, at least 2 clusters.

    For a binary metric the estimate is one that few discordant pairs do not break.
    """
    before, after = cluster_sums(first), cluster_sums(second)
    score = score_of(metric)
    if is_binary(metric, first, second):
        return intervals.binary_difference(after[:, 0] - before[:, 0], before[:, 1])
    parts = before.shape[1]
    both = np.concatenate([before, after], axis=1)
    return intervals.jackknife(both, lambda sums: score(sums[:, parts:]) - score(sums[:, :parts]))


def tested(metric: Metric, first: Scores, second: Scores) -> dict[str, Any]:
    """What a comparison says of a difference; None below 10 clusters."""
    binary = is_binary(metric, first, second)
    row: dict[str, Any] = dict.fromkeys(("low", "high", "p_alone", "mde", "lost", "gained"))
    if binary:
        change = second.values[:, 0] - first.values[:, 0]
        row["lost"], row["gained"] = int((change < 0).sum()), int((change > 0).sum())
    clusters = len(np.unique(first.clusters))
    if clusters < intervals.MIN_CLUSTERS:
        return row
    found = difference(metric, first, second)
    row["low"], row["high"] = found.interval()
    row["p_alone"], row["mde"] = found.p(), found.detectable()
    if binary and clusters == len(first.ids):
        row["p_alone"] = intervals.mcnemar_p(row["lost"], row["gained"])
    return row


def compare_metric(metric: Metric, first: Scores, second: Scores) -> dict[str, Any] | None:
    """One row of `compare`, before p values are adjusted; None if no item has both scores."""
    asked = len(np.intersect1d(first.ids, second.ids))
    first, second = both_scored(first, second)
    if not len(first.ids):
        return None
    row: dict[str, Any] = {
        "metric": metric.name,
        "stratum": metric.stratum,
        "n": len(first.ids),
        "n_clusters": len(np.unique(first.clusters)),
        "asked": asked,
        "unscored": asked - len(first.ids),
        "binary": is_binary(metric, first, second),
    }
    for name, scores in (("base", first), ("tuned", second)):
        row[name], row[f"{name}_low"], row[f"{name}_high"] = value(metric, scores)
    row["difference"] = row["tuned"] - row["base"]
    return row | tested(metric, first, second)


def add_p(rows: list[dict[str, Any]]) -> None:
    """Mark the primary metrics of a run's rows and set `p`, adjusted over all that are tested.

    A stratum other than a language is description: it has an interval and no p.
    """
    for suite in {row["suite"] for row in rows}:
        mine = [row for row in rows if row["suite"] == suite]
        chosen = primary_metric({row["metric"] for row in mine})
        for row in mine:
            whole = row["stratum"] in ("", *LANGUAGES)
            row["primary"] = whole and row["metric"] == chosen
            row["p"] = row["p_alone"] if whole else None
    found = [row for row in rows if row["p"] is not None]
    adjusted = intervals.adjust([row["p"] for row in found], [row["primary"] for row in found])
    for row, p in zip(found, adjusted, strict=True):
        row["p"] = p


def chosen(items: pd.DataFrame, wanted: Mapping[str, str]) -> pd.DataFrame:
    """The item scores whose columns have the wanted texts."""
    for column, text in wanted.items():
        items = items[items[column] == text]
    return items


def compare(
    items: pd.DataFrame,
    *,
    first: Mapping[str, str] = BASE,
    second: Mapping[str, str] = TUNED,
) -> list[dict[str, Any]]:
    """Compare two systems on the items that both have, metric by metric.

    `items` is what `items.read_items` returns. `first` and `second` choose the systems by column,
    such as {"model": "base"} and {"model": "tuned"} of the same run (one comparison a run), or
    {"run": "a", "model": "tuned"} and {"run": "b", "model": "tuned"}. Returns one row a run, suite
    and metric, sorted, with

    run, suite, metric, stratum   stratum is "" for all items; run is that of `second`
    primary             True for the suite's primary metric (mindtune.primary)
    n, n_clusters       items that both systems have scores for, and their clusters
    asked, unscored     items that both were asked; of them, those without a score in either system
    binary              True if all values are 0 or 1
    base, base_low, base_high, tuned, tuned_low, tuned_high
                        values and 95 % intervals: Wilson's for shares, jackknife t otherwise
    difference, low, high   second - first, with its 95 % interval by cluster
    p                   adjusted for all p values of the run (Holm, primary metrics apart);
                        None for a stratum that is no language
    p_alone             the same without adjustment: exact McNemar where binary and unclustered
    lost, gained        for binary metrics: items right in first only, in second only
    mde                 the smallest true difference that such a comparison finds in 80 % of cases

    Below 10 clusters every interval, p and mde is None.
    """
    sides = [dict(systems(chosen(items, side), ["run", "suite"])) for side in (first, second)]
    rows: list[dict[str, Any]] = []
    for (run, suite), after in sides[1].items():
        before = sides[0].get((first.get("run", run), suite), {})
        for metric in sorted(after.keys() & before.keys()):
            row = compare_metric(metric, before[metric], after[metric])
            rows += [{"run": run, "suite": suite} | row] if row else []
    for run in {row["run"] for row in rows}:
        add_p([row for row in rows if row["run"] == run])
    return [rounded(row) for row in rows]


def system_values(items: pd.DataFrame) -> list[dict[str, Any]]:
    """Every system alone: run, suite, model, metric, stratum, value, low, high, n, n_clusters,
    unscored and binary; sorted. A metric without any score has the value None.
    """
    rows = []
    for (run, suite, model), metrics in systems(items, ["run", "suite", "model"]):
        for metric, scores in metrics.items():
            whole = scored(scores)
            found = value(metric, whole) if len(whole.ids) else (None, *NO_INTERVAL)
            rows.append(
                {"run": run, "suite": suite, "model": model}
                | {"metric": metric.name, "stratum": metric.stratum}
                | dict(zip(("value", "low", "high"), found, strict=True))
                | {"n": len(whole.ids), "n_clusters": len(np.unique(whole.clusters))}
                | {"unscored": len(scores.ids) - len(whole.ids)}
                | {"binary": bool(len(whole.ids)) and is_binary(metric, whole)}
            )
    return [rounded(row) for row in rows]
