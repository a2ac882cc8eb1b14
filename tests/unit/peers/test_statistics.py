"""McNemar, Wilson's interval, Holm's adjustment and a clustered error are those of statsmodels."""

import numpy as np
import pytest
from mindtune.evaluate.intervals import holm, jackknife, mcnemar_p, ratio, wilson

COUNTS = (0, 1, 2, 5, 9, 17, 40, 61)


@pytest.mark.parametrize("lost", COUNTS)
@pytest.mark.parametrize("gained", COUNTS)
def test_mcnemar(lost, gained):
    from statsmodels.stats.contingency_tables import mcnemar

    theirs = mcnemar([[5, lost], [gained, 7]], exact=True).pvalue if lost + gained else 1.0
    assert mcnemar_p(lost, gained) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("right", COUNTS)
@pytest.mark.parametrize("wrong", COUNTS[1:])
def test_wilson(right, wrong):
    from statsmodels.stats.proportion import proportion_confint

    theirs = proportion_confint(right, right + wrong, method="wilson")
    assert wilson(right, right + wrong) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_holm(seed):
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(seed)
    ps = rng.choice([0.0, 0.01, 0.02, 0.3, 1.0, *rng.random(4)], size=1 + seed % 12).tolist()
    assert holm(ps) == pytest.approx(list(multipletests(ps, method="holm")[1]), abs=1e-12)


def test_the_clustered_error_of_a_mean_is_close_to_the_sandwich():
    """For clusters of one size the jackknife's is statsmodels' with its small-sample factor."""
    import statsmodels.api as sm

    rng = np.random.default_rng(3)
    home = np.repeat(np.arange(30), 4)
    values = rng.normal(size=30)[home] + rng.normal(size=120)
    sums = np.stack([np.bincount(home, values), np.bincount(home)], axis=1)
    model = sm.OLS(values, np.ones(120))
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": home, "use_correction": True})
    ours = jackknife(sums, ratio)
    # their factor is C/(C-1) (n-1)/(n-k) = 30/29 here; leaving one of equal clusters out gives it
    assert ours.value == pytest.approx(float(fit.params[0]), abs=1e-12)
    assert ours.error == pytest.approx(float(fit.bse[0]), rel=1e-9)
