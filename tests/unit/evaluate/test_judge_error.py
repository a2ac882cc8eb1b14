"""A rate corrected for its judge's error: what was planted is found, and intervals cover it."""

import numpy as np
import pytest
from mindtune.evaluate.judge_error import Calibration, calibrate, corrected, corrected_interval


def drawn(theta, q0, q1, n, m, generator):
    """A judge's rate over n items, and its calibration by m items that people answered too."""
    rate = generator.binomial(n, theta * q1 + (1 - theta) * (1 - q0)) / n
    yes = int(np.clip(generator.binomial(m, theta), 1, m - 1))
    shared = generator.binomial(yes, q1), generator.binomial(m - yes, q0)
    return rate, Calibration(yes, int(shared[0]), m - yes, int(shared[1]))


def test_a_planted_rate_is_found_through_a_judge_that_errs():
    rate, found = drawn(0.8, 0.85, 0.9, 20_000, 20_000, np.random.default_rng(1))
    assert abs(rate - 0.8) > 0.03
    assert abs(corrected(rate, found.q0, found.q1) - 0.8) < 0.03


@pytest.mark.parametrize(
    ("theta", "q0", "q1"), [(0.8, 0.7, 0.9), (0.5, 0.8, 0.6), (0.3, 0.95, 0.8)]
)
def test_intervals_cover_the_truth(theta, q0, q1):
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(2000):
        rate, found = drawn(theta, q0, q1, 400, 200, generator)
        low, high = corrected_interval(rate, 400, found)
        hits += low <= theta <= high
    assert 0.93 <= hits / 2000 <= 0.97


def test_a_judge_that_never_errs_leaves_the_rate_as_it_is():
    assert corrected(0.4, 1.0, 1.0) == pytest.approx(0.4)
    low, high = corrected_interval(0.4, 1000, Calibration(10_000, 10_000, 10_000, 10_000))
    assert low < 0.4 < high and high - low < 0.07


def test_a_judge_no_better_than_a_coin_or_with_few_answers_corrects_nothing():
    assert not Calibration(50, 25, 50, 25).is_enough()
    assert not Calibration(9, 9, 50, 50).is_enough()
    assert Calibration(10, 9, 50, 45).is_enough()
    assert corrected_interval(0.5, 100, Calibration(20, 10, 20, 10)) == (0.0, 1.0)


def test_calibration_counts_what_people_and_judge_share():
    judge, people = np.array([1, 1, 0, 0, 1.0]), np.array([1, 0, 0, 1, 1.0])
    assert calibrate(judge, people) == Calibration(3, 2, 2, 1)
