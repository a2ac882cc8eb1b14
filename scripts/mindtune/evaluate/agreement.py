"""How far raters agree: raw agreement, Krippendorff's alpha and Gwet's AC2, with intervals.

All three are read together. Where nearly every answer is the same, alpha falls to 0 although the
raters hardly ever differ (the paradox of kappa), and AC2 does not; where answers are spread the
three say the same.

Each is a function of sums over units (the things that were rated), so that leaving out one cluster
at a time, for the interval, costs nothing. Nothing is drawn.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from mindtune.evaluate.intervals import LEVEL, MIN_CLUSTERS, jackknife, share_interval

MEASURES = ("raw", "alpha", "ac2")
SCALES = ("nominal", "ordinal")


class Agreed(NamedTuple):
    """A measure of agreement and its 95 % interval; None where there is none."""

    value: float | None
    low: float | None
    high: float | None


NONE = Agreed(None, None, None)


class Sums(NamedTuple):
    """Sums over units, each with one row a set of units (m): pairs that agree, exactly and by the
    weights; units with two ratings or more; units with any; shares (m, q); coincidences (m, q, q).
    """

    same: np.ndarray
    near: np.ndarray
    paired: np.ndarray
    rated: np.ndarray
    shares: np.ndarray
    coincidences: np.ndarray


def weights_of(scale: str, categories: int) -> np.ndarray:
    """How much two categories agree, shape (q, q): 1 on the diagonal; nominal 0 elsewhere.

    ordinal: 1 - M / max M with M = C(distance + 1, 2) (Gwet 2014, Handbook of Inter-Rater
    Reliability, 4th edition, p. 91).
    """
    if scale == "nominal":
        return np.eye(categories)
    distance = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories)))
    apart = distance * (distance + 1) / 2
    return 1 - apart / max(1, apart.max())


def unit_sums(ratings: np.ndarray, categories: Sequence[float], scale: str) -> np.ndarray:
    """The row of each unit, shape (units, 4 + q + q * q), as `split` reads it."""
    counts = np.stack([(ratings == category).sum(axis=1) for category in categories], axis=1)
    if (counts.sum(axis=1) != (~np.isnan(ratings)).sum(axis=1)).any():
        raise ValueError(f"a rating is none of the categories {list(categories)}")
    n = counts.sum(axis=1)
    pairs = np.where(n > 1, n * (n - 1), 1)
    near = counts @ weights_of(scale, len(categories))
    with_others = counts[:, :, None] * (counts[:, None, :] - np.eye(len(categories)))
    return np.concatenate(
        [
            np.stack(
                [
                    (counts * (counts - 1)).sum(axis=1) / pairs,
                    np.where(n > 1, (counts * (near - 1)).sum(axis=1) / pairs, 0),
                    n > 1,
                    n > 0,
                ],
                axis=1,
            ),
            counts / np.maximum(n, 1)[:, None],
            np.where(n[:, None] > 1, with_others.reshape(len(n), -1), 0)
            / np.maximum(n - 1, 1)[:, None],
        ],
        axis=1,
    )


def split(rows: np.ndarray) -> Sums:
    """Sums of rows of `unit_sums`, shape (m, 4 + q + q * q), by name."""
    q = int(round(((4 * rows.shape[1] - 15) ** 0.5 - 1) / 2))  # 4 + q + q^2 columns
    return Sums(*rows[:, :4].T, rows[:, 4 : 4 + q], rows[:, 4 + q :].reshape(-1, q, q))


def raw(sums: Sums) -> np.ndarray:
    """The share of pairs of raters that gave a unit the same answer, a mean over units."""
    return sums.same / sums.paired


def ac2(sums: Sums, scale: str) -> np.ndarray:
    """Gwet's AC2; with the nominal scale his AC1 (Gwet 2008, 10.1348/000711006X126600)."""
    q = sums.shares.shape[1]
    share = sums.shares / sums.rated[:, None]
    total = weights_of(scale, q).sum()
    chance = total / (q * (q - 1)) * (share * (1 - share)).sum(axis=1)
    return 1 - (1 - sums.near / sums.paired) / (1 - chance)


def apart(margins: np.ndarray, scale: str) -> np.ndarray:
    """Krippendorff's squared differences of categories, shape (m, q, q), given how often each was
    used, shape (m, q).
    """
    q = margins.shape[1]
    if scale == "nominal":
        return np.broadcast_to(1 - np.eye(q), (len(margins), q, q))
    below = np.cumsum(margins, axis=1) - margins / 2
    return (below[:, :, None] - below[:, None, :]) ** 2


def alpha(sums: Sums, scale: str) -> np.ndarray:
    """Krippendorff's alpha (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability); NaN
    where only one category was used, since nothing was told apart.
    """
    margins = sums.coincidences.sum(axis=2)
    n = margins.sum(axis=1)
    distance = apart(margins, scale)
    observed = (sums.coincidences * distance).sum(axis=(1, 2)) / n
    by_chance = (margins[:, :, None] * margins[:, None, :] * distance).sum(axis=(1, 2))
    expected = by_chance / (n * (n - 1))
    return 1 - np.divide(
        observed, expected, out=np.full(len(n), np.nan), where=expected > 1e-12 * n
    )


def by_cluster(rows: np.ndarray, clusters: Sequence[Hashable] | None) -> np.ndarray:
    """The rows of units summed by cluster; without clusters each unit is one."""
    if clusters is None:
        return rows
    _, places = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.zeros((places.max() + 1, rows.shape[1]))
    np.add.at(sums, places, rows)
    return sums


def with_interval(rows: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> Agreed:
    """A measure 1 - x with the jackknife's interval of log x, which ends below 1.

    By coverage in docs/records/agreement.json. Where one cluster holds all disagreement, or there
    is none, it has no interval: see `agreement`.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(score(rows.sum(axis=0)[None])[0])
        if not np.isfinite(value):
            return NONE
        if value >= 1:
            return Agreed(value, None, None)
        found = jackknife(rows, lambda sums: np.log(1 - score(sums)))
    if not np.isfinite(found.error):
        return Agreed(value, None, None)
    half = float(stdtrit(found.freedom, (1 + LEVEL) / 2)) * found.error
    low, high = (1 - (1 - value) * np.exp(sign * half) for sign in (1, -1))
    return Agreed(value, max(-1.0, float(low)), float(high))


def agreement(
    ratings: np.ndarray,
    categories: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    scale: str = "nominal",
) -> dict[str, Agreed]:
    """{measure: value and interval} of ratings, shape (units, raters), NaN where a rater gave none.

    `categories` are all possible ratings, in their order for the ordinal scale; `clusters` says
    which units belong together (two replies to one client). Without two ratings of any unit every
    measure is None. Where nobody differed, or in one cluster only, the interval is what that of raw
    agreement allows; of fewer than MIN_CLUSTERS clusters there is none.
    """
    if scale not in SCALES or len(categories) < 2:
        raise ValueError(f"scale is one of {SCALES}, with two categories or more")
    rows = by_cluster(unit_sums(ratings, categories, scale), clusters)
    total = split(rows.sum(axis=0)[None])
    if not total.paired[0]:
        return dict.fromkeys(MEASURES, NONE)
    same = split(rows)
    low, high = share_interval(same.same[same.paired > 0], same.paired[same.paired > 0])
    found = {"raw": Agreed(float(raw(total)[0]), low, high)}
    for name, measure in (("alpha", alpha), ("ac2", ac2)):
        found[name] = with_interval(rows, lambda sums, of=measure: of(split(sums), scale))
        value = found[name].value
        if value is not None and found[name].low is None:
            room = 1 - chance_agreement(total, name)
            ends = [1 - (1 - end) / room for end in (low, high)]
            found[name] = Agreed(value, max(-1.0, min(value, ends[0])), max(value, ends[1]))
    if len(rows) < MIN_CLUSTERS:
        return {name: Agreed(one.value, None, None) for name, one in found.items()}
    return found


def chance_agreement(total: Sums, measure: str) -> float:
    """What chance alone would give of raw agreement, by the measure's own idea of chance."""
    if measure == "ac2":
        share = total.shares[0] / total.rated[0]
        return float((share * (1 - share)).sum() / (len(share) - 1))
    margins = total.coincidences[0].sum(axis=1)
    n = margins.sum()
    return float((margins * (margins - 1)).sum() / (n * (n - 1)))
