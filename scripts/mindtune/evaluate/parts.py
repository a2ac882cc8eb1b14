"""Metrics that are no mean over items: what they are computed from, and how.

Their parts are summed over the items of a system, or of a resample, and the formula is applied to
the sums: so an interval of corpus BLEU is one of corpus BLEU, not of a mean of sentences.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mindtune.evaluate.intervals import ratio

NGRAMS = range(1, 5)
CHARACTERS = range(1, 7)
BETA = 2


class Formula(NamedTuple):
    """The names of a metric's parts, and its score of sums of shape (m, parts), shape (m,)."""

    parts: tuple[str, ...]
    score: Callable[[np.ndarray], np.ndarray]


def bleu(sums: np.ndarray) -> np.ndarray:
    """Corpus BLEU (0 to 100) as sacrebleu computes it, smooth:exp, of its sums (system length,
    reference length, 4 x correct, 4 x total).
    """
    system, reference = sums[:, 0], sums[:, 1]
    correct, total = sums[:, 2:6], sums[:, 6:10]
    possible = (total > 0).all(axis=1) & (correct > 0).any(axis=1)
    total = np.where(total > 0, total, 1)
    # Every order without a match halves what it counts as (NIST's mteval-v13a).
    halvings = 2.0 ** np.cumsum(correct == 0, axis=1)
    precision = 100 * np.where(correct > 0, correct, 1 / halvings) / total
    brevity = np.exp(np.minimum(0, 1 - reference / np.where(system > 0, system, 1)))
    return np.where(possible, brevity * np.exp(np.log(precision).mean(axis=1)), 0.0)


def chrf(sums: np.ndarray) -> np.ndarray:
    """Corpus chrF (0 to 100) as sacrebleu computes it, of its sums (reply, reference, match) for
    each of 6 orders.
    """
    reply, reference, match = np.moveaxis(sums.reshape(len(sums), -1, 3), 2, 0)
    used = (reply > 0) & (reference > 0)
    orders = np.maximum(used.sum(axis=1), 1)
    precision = (match / np.where(used, reply, np.inf)).sum(axis=1) / orders
    recall = (match / np.where(used, reference, np.inf)).sum(axis=1) / orders
    below = BETA**2 * precision + recall
    above = 100 * (1 + BETA**2) * precision * recall
    return np.divide(above, below, out=np.zeros(len(sums)), where=below > 0)


def at_zero(sums: np.ndarray) -> np.ndarray:
    """The value of the fitted line at x = 0, between 0 and 1, of its sums (n, x, y, xx, xy): what
    two replies of equal length would get. Where all x are the same it is the mean.
    """
    n, x, y, xx, xy = sums.T
    spread = n * xx - x * x
    flat = spread <= 1e-12 * np.maximum(n * xx, 1)
    value = np.where(flat, y / np.maximum(n, 1), (xx * y - x * xy) / np.where(flat, 1, spread))
    return np.clip(value, 0.0, 1.0)


FORMULAS = {
    "BLEU": Formula(
        (
            "system_length",
            "reference_length",
            *(f"correct_{n}" for n in NGRAMS),
            *(f"total_{n}" for n in NGRAMS),
        ),
        bleu,
    ),
    "chrF": Formula(
        tuple(f"{side}_{n}" for n in CHARACTERS for side in ("reply", "reference", "match")), chrf
    ),
    "repetition": Formula(("repeated", "ngrams"), ratio),
    "length_ratio": Formula(("reply", "reference"), ratio),
    "preferred_equal_length": Formula(("n", "x", "y", "xx", "xy"), at_zero),
}
