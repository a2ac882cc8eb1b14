"""Intervals cover what they say, p values are those of scipy and of the textbook, and a table of
true nulls stays quiet.
"""

import numpy as np
import pytest
from mindtune.evaluate import intervals
from scipy import stats


def test_without_clusters_the_jackknife_is_students_interval():
    values = np.array([1.0, 4.0, 2.0, 8.0, 5.0, 7.0, 3.0, 6.0, 9.0, 2.5])
    found = intervals.jackknife(np.stack([values, np.ones(10)], axis=1), intervals.ratio)
    theirs = stats.ttest_1samp(values, 0)
    assert found.interval() == pytest.approx(tuple(theirs.confidence_interval()))
    assert found.p() == pytest.approx(theirs.pvalue)


def test_the_detectable_effect_is_found_in_four_of_five_cases():
    found = intervals.Estimate(0.0, 1.0, 49)
    critical = stats.t.ppf(0.975, 49)
    power = stats.nct.sf(critical, 49, found.detectable())
    assert power == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("successes", "n"), [(0, 12), (7, 12), (470, 769), (769, 769)])
def test_wilson_and_mcnemar_are_scipys(successes, n):
    theirs = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert intervals.wilson(successes, n) == pytest.approx((theirs.low, theirs.high))
    assert intervals.mcnemar_p(successes, n - successes) == pytest.approx(
        stats.binomtest(successes, n).pvalue
    )


def test_mcnemar_of_no_discordant_pair_is_1():
    assert intervals.mcnemar_p(0, 0) == 1
    assert intervals.mcnemar_p(1, 7) == pytest.approx(0.0703125)  # 2 x 9/256


def test_wilson_of_statsmodels_documentation():
    """proportion_confint(10, 100, method="wilson") of statsmodels."""
    assert intervals.wilson(10, 100) == pytest.approx((0.05522914, 0.17436566), abs=1e-8)


def test_a_share_with_clusters_of_one_is_wilsons():
    right = np.array([1.0] * 30 + [0.0] * 20)
    assert intervals.share_interval(right, np.ones(50)) == intervals.wilson(30, 50)


def test_correlated_items_widen_a_shares_interval():
    right = np.array([4.0, 0, 4, 0, 4, 4, 0, 4, 0, 0, 4, 0])
    low, high = intervals.share_interval(right, np.full(12, 4.0))
    alone = intervals.wilson(24, 48)
    assert high - low > 1.8 * (alone[1] - alone[0])


def test_no_discordant_pair_is_not_no_doubt():
    found = intervals.binary_difference(np.zeros(50), np.ones(50))
    low, high = found.interval()
    assert -0.08 < low < -0.02 and high == -low and found.p() == 1


def test_holm_is_the_textbooks():
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_primary_metrics_are_not_weakened_by_many_others():
    found = intervals.adjust([0.01] + [0.5] * 20, [True] + [False] * 20)
    assert found[0] == pytest.approx(0.01 / 0.8) and found[1] == 1


def cluster_sums(rng, clusters, correlation):
    """Skewed scores of dialogues of 2 to 15 turns, with the mean 0, as sums by dialogue."""
    turns = rng.integers(2, 16, clusters)
    home = np.repeat(np.arange(clusters), turns)
    own = rng.standard_exponential(len(home)) - 1
    shared = rng.standard_exponential(clusters)[home] - 1
    scores = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    return np.stack([np.bincount(home, scores), turns.astype(float)], axis=1)


@pytest.mark.parametrize("clusters", [12, 50])
def test_intervals_cover_differences_of_correlated_turns(clusters):
    """A small version of scripts/bench/bench_intervals.py; the bounds leave room for 1,000
    draws.
    """
    rng = np.random.default_rng(clusters)
    covered = found = 0
    for _ in range(1000):
        sums = [cluster_sums(rng, clusters, 0.3) for _ in range(2)]
        sums[1][:, 1] = sums[0][:, 1]
        difference = np.stack([sums[1][:, 0] - sums[0][:, 0], sums[0][:, 1]], axis=1)
        estimate = intervals.jackknife(difference, intervals.ratio)
        low, high = estimate.interval()
        covered += low <= 0 <= high
        found += estimate.p() < 0.05
    assert 0.925 < covered / 1000 < 0.975 and 0.025 < found / 1000 < 0.075


def test_a_table_of_true_nulls_finds_something_in_at_most_7_percent():
    rng = np.random.default_rng(7)
    primary = [True, True, *[False] * 12]
    ps = rng.random((2000, len(primary)))
    wrong = sum(min(intervals.adjust(row, primary)) < 0.05 for row in ps)
    assert 0.03 < wrong / 2000 < 0.07
