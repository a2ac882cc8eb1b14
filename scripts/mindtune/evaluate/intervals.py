"""Intervals and p values that hold for few, correlated items.

Turns of one dialogue are not independent, so the unit is the cluster (a dialogue, a question's
stem). The methods were chosen by how often they cover the truth (scripts/bench/bench_intervals.py,
docs/records/intervals.json): the jackknife over clusters with Student's t. It has no randomness.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr, ndtri, stdtr, stdtrit

LEVEL = 0.95
POWER = 0.8
# Below it no method tried covers what it says; two dialogues gave p = 0.001.
MIN_CLUSTERS = 10
# Primary metrics share 4 of the 5 percent of false findings, all others the rest.
PRIMARY_SHARE = 0.8

Score = Callable[[np.ndarray], np.ndarray]


class Estimate(NamedTuple):
    """A value, its standard error and its degrees of freedom (clusters - 1)."""

    value: float
    error: float
    freedom: int

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The two-sided interval by Student's t."""
        half = float(stdtrit(self.freedom, (1 + level) / 2)) * self.error
        return self.value - half, self.value + half

    def p(self) -> float:
        """Two-sided p of the value 0; 1 for a value that is 0 without any error."""
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * stdtr(self.freedom, -abs(self.value) / self.error))

    def detectable(self, power: float = POWER, level: float = LEVEL) -> float:
        """The smallest true value that such data find (p < 1 - level) in `power` of all cases."""
        quantiles = stdtrit(self.freedom, [(1 + level) / 2, power])
        return float(quantiles.sum()) * self.error


def jackknife(sums: np.ndarray, score: Score) -> Estimate:
    """The score of all clusters, with the standard error of leaving out one cluster at a time.

    `sums` has one row a cluster, shape (clusters, k); `score` maps sums of rows, shape (m, k), to m
    values. Efron and Tibshirani 1993, An Introduction to the Bootstrap, eq. 11.5.
    """
    clusters = len(sums)
    total = sums.sum(axis=0)
    value = float(score(total[None])[0])
    left_out = score(total - sums)
    error = float(np.sqrt((clusters - 1) * np.mean((left_out - left_out.mean()) ** 2)))
    return Estimate(value, error, clusters - 1)


def wilson(successes: float, n: float, level: float = LEVEL, z: float | None = None) -> tuple:
    """Wilson's interval of a share (Wilson 1927). `n` need not be whole: with clusters it is the
    effective number of items. `z` replaces the normal quantile.
    """
    z = float(ndtri((1 + level) / 2)) if z is None else z
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def share_interval(successes: np.ndarray, items: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a share from the counts of each cluster, shape (clusters,).

    Without clusters it is Wilson's. With them, Wilson's with the number of items divided by the
    design effect and with Student's t (Korn and Graubard 1998, for Clopper-Pearson's).
    """
    n, share = float(items.sum()), float(successes.sum() / items.sum())
    if items.max() == 1:
        return wilson(share * n, n)
    found = jackknife(np.stack([successes, items], axis=1), ratio)
    spread = share * (1 - share)
    # All right or all wrong says nothing of the correlation: then a cluster counts as one item.
    effective = min(n, spread / found.error**2) if spread and found.error else len(items)
    z = float(stdtrit(found.freedom, (1 + LEVEL) / 2))
    return wilson(share * effective, effective, z=z)


def ratio(sums: np.ndarray) -> np.ndarray:
    """First sum over second sum, or 0 where there is nothing to divide by; shape (m, 2) to (m,)."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] != 0)


def binary_difference(differences: np.ndarray, items: np.ndarray) -> Estimate:
    """The mean difference of binary items as an estimate that holds with few discordant pairs too.

    `differences` and `items` are the sums of each cluster. One pair won and one pair lost are
    added, each a cluster of its own (Bonett and Price 2012, 10.3102/1076998611411915, who have no
    clusters): without them, no discordant pair would mean no doubt.
    """
    padded = np.stack([[*differences, 1, -1], [*items, 1, 1]], axis=1)
    return jackknife(padded, ratio)


def mcnemar_p(lost: int, gained: int) -> float:
    """Exact two-sided p of McNemar's test, from the numbers of discordant pairs."""
    pairs = lost + gained
    return min(1.0, 2 * float(bdtr(min(lost, gained), pairs, 0.5))) if pairs else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p values (Holm 1979), in the order given."""
    order = np.argsort(ps, kind="stable")
    adjusted = np.empty(len(ps))
    adjusted[order] = np.maximum.accumulate(
        [min(1.0, (len(ps) - rank) * ps[place]) for rank, place in enumerate(order)]
    )
    return adjusted.tolist()


def adjust(ps: Sequence[float], primary: Sequence[bool]) -> list[float]:
    """p values adjusted so that a table of true nulls finds anything in at most 5 %.

    Holm within the primary metrics and within the others, which share the 5 % (PRIMARY_SHARE): the
    few questions asked before are not weakened by the many others.
    """
    adjusted = np.ones(len(ps))
    both = any(primary) and not all(primary)
    for kind, share in ((True, PRIMARY_SHARE), (False, 1 - PRIMARY_SHARE)):
        places = [place for place, first in enumerate(primary) if first is kind]
        found = np.array(holm([ps[place] for place in places]))
        adjusted[places] = np.minimum(1.0, found / (share if both else 1.0)) if places else []
    return adjusted.tolist()
