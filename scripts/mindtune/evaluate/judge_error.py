"""A rate that knows its judge's error: what people would have found, by a judge's rate and by a
calibration set that both judged.

theta = (p + q0 - 1) / (q0 + q1 - 1), where p is the judge's rate, q1 its share of yes where people
say yes, q0 its share of no where people say no (Rogan and Gladen 1978; arXiv 2511.21140).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

LEVEL = 0.95
# Fewer answers of people on either side say nothing of a judge
MIN_CALIBRATED = 10
# Added to yes and to no of a calibrated share, as Jeffreys' prior does: no share is free of error
PRIOR = 0.5


class Calibration(NamedTuple):
    """A judge beside people: of `yes` and `no` of people, how many it shares."""

    yes: int
    yes_shared: int
    no: int
    no_shared: int

    @property
    def q1(self) -> float:
        """The judge's share of yes among people's yes."""
        return self.yes_shared / self.yes

    @property
    def q0(self) -> float:
        """The judge's share of no among people's no."""
        return self.no_shared / self.no

    def is_enough(self) -> bool:
        """Whether both sides have enough answers, and the judge is better than a coin."""
        enough = min(self.yes, self.no) >= MIN_CALIBRATED
        return enough and self.q0 + self.q1 > 1


def calibrate(judge: np.ndarray, people: np.ndarray) -> Calibration:
    """The calibration from answers of judge and people to the same questions, both of shape (n,)
    with 0 and 1.
    """
    yes = people == 1
    return Calibration(
        int(yes.sum()),
        int((judge[yes] == 1).sum()),
        int((~yes).sum()),
        int((judge[~yes] == 0).sum()),
    )


def corrected(p: float, q0: float, q1: float) -> float:
    """theta, kept between 0 and 1. `q0` + `q1` is more than 1."""
    return min(1.0, max(0.0, (p + q0 - 1) / (q0 + q1 - 1)))


def corrected_interval(
    p: float, n: float, calibration: Calibration, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of theta, from the errors of the judge's rate and of the calibration set.

    `n` is the effective number of judged items. It holds every theta that the data do not
    contradict (Fieller 1954): p - (1 - q0) - theta (q0 + q1 - 1) lies within z standard errors of
    0. Its coverage is simulated by scripts/bench/bench_judge.py (docs/records/judge.json).
    """
    z2 = float(ndtri((1 + level) / 2)) ** 2
    rate, rate_variance = shrunk(p * n, n, z2 / 2)
    q1, variance1 = shrunk(calibration.yes_shared, calibration.yes, PRIOR)
    q0, variance0 = shrunk(calibration.no_shared, calibration.no, PRIOR)
    slope, above = q0 + q1 - 1, rate - (1 - q0)
    a = slope**2 - z2 * (variance0 + variance1)
    b = -2 * above * slope + 2 * z2 * variance0
    c = above**2 - z2 * (rate_variance + variance0)
    inside = b * b - 4 * a * c
    if a <= 0 or inside < 0:
        return 0.0, 1.0
    half = np.sqrt(inside)
    low, high = ((-b + sign * half) / (2 * a) for sign in (-1, 1))
    return min(1.0, max(0.0, float(low))), min(1.0, max(0.0, float(high)))


def shrunk(successes: float, n: float, added: float) -> tuple[float, float]:
    """A share with `added` successes and failures more, and its variance."""
    share = (successes + added) / (n + 2 * added)
    return share, share * (1 - share) / (n + 2 * added)
