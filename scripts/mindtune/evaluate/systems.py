"""The scores of one system on one metric, taken out of item scores, and their sums by cluster."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from mindtune.evaluate import intervals
from mindtune.evaluate.items import Metric, split_metric
from mindtune.evaluate.parts import FORMULAS


class Scores(NamedTuple):
    """One metric of one system: sorted ids, their clusters, and values of shape (items, parts);
    an item without a score has NaN.
    """

    ids: np.ndarray
    clusters: np.ndarray
    values: np.ndarray

    def at(self, places: np.ndarray) -> "Scores":
        """The items at the given places."""
        return Scores(*(part[places] for part in self))


def systems(
    items: pd.DataFrame, columns: list[str]
) -> Iterator[tuple[tuple[str, ...], dict[Metric, Scores]]]:
    """Split item scores by `columns`; each group as {metric: its scores}, ids and clusters as
    category codes, which are equal for equal texts.
    """
    for key, group in items.groupby(columns, observed=True, sort=True):
        found: dict[Metric, dict[str, pd.DataFrame]] = {}
        for text, rows in group.groupby("metric", observed=True, sort=True):
            name, stratum, part = split_metric(str(text))
            found.setdefault(Metric(name, stratum, ""), {})[part] = rows
        yield key, {metric: joined(metric, parts) for metric, parts in found.items()}


def joined(metric: Metric, parts: Mapping[str, pd.DataFrame]) -> Scores:
    """The scores of a metric from the rows of its parts, or of itself where it is a mean."""
    names = FORMULAS[metric.name].parts if metric.name in FORMULAS else ("",)
    if missing := [name for name in names if name not in parts]:
        raise ValueError(f"{metric} lacks its part {missing[0]!r}; it has {sorted(parts)}")
    first = parts[names[0]]
    ids = first["id"].cat.codes.to_numpy()
    for name in names:
        if not np.array_equal(parts[name]["id"].cat.codes.to_numpy(), ids):
            raise ValueError(f"the parts of {metric} have different items")
    values = np.stack([parts[name]["value"].to_numpy() for name in names], axis=1)
    return Scores(ids, first["cluster"].cat.codes.to_numpy(), values)


def scored(scores: Scores) -> Scores:
    """The items that have a score."""
    return scores.at(~np.isnan(scores.values).any(axis=1))


def paired(first: Scores, second: Scores) -> tuple[Scores, Scores]:
    """The items that both systems were asked, in one order."""
    _, ours, theirs = np.intersect1d(first.ids, second.ids, return_indices=True)
    return first.at(ours), second.at(theirs)


def both_scored(first: Scores, second: Scores) -> tuple[Scores, Scores]:
    """The items that both systems have a score for, in one order."""
    first, second = paired(first, second)
    both = ~(np.isnan(first.values).any(axis=1) | np.isnan(second.values).any(axis=1))
    return first.at(both), second.at(both)


def cluster_sums(scores: Scores) -> np.ndarray:
    """Sums of the parts by cluster, shape (clusters, parts); of a mean: of values and of items."""
    _, places = np.unique(scores.clusters, return_inverse=True)
    values = scores.values
    if values.shape[1] == 1:
        values = np.concatenate([values, np.ones_like(values)], axis=1)
    sums = np.zeros((places.max() + 1, values.shape[1]))
    np.add.at(sums, places, values)
    return sums


def score_of(metric: Metric) -> intervals.Score:
    """The formula of a metric over the sums that `cluster_sums` gives."""
    return FORMULAS[metric.name].score if metric.name in FORMULAS else intervals.ratio
