"""Agreement of raters: published worked examples, the answers of two packages to 60 tables, and
what must hold of any table.

agreement_of_packages.json has the answers of krippendorff 0.9.0 and irrCAC 0.4.4 to random tables
of 2 to 4 categories and raters, half of them with gaps. Neither package is needed here.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.evaluate.agreement import MEASURES, NONE, agreement, weights_of

nan = np.nan
# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, example C: 4 observers, 12 units
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
        [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
    ]
).T
TABLES = json.loads(
    (Path(__file__).parent / "agreement_of_packages.json").read_text(encoding="utf-8")
)


def values(ratings, categories, **options):
    found = agreement(np.array(ratings, dtype=float), categories, **options)
    return {name: one.value for name, one in found.items()}


def test_published_examples():
    nominal = values(KRIPPENDORFF, range(1, 6))
    assert nominal["alpha"] == pytest.approx(0.743, abs=5e-4)
    assert values(KRIPPENDORFF, range(1, 6), scale="ordinal")["alpha"] == pytest.approx(
        0.815, abs=5e-4
    )
    # Gwet's own package irrCAC has the same ratings as cac.raw4raters
    assert nominal["ac2"] == pytest.approx(0.775, abs=5e-4)
    assert nominal["raw"] == pytest.approx(0.818, abs=5e-4)
    # Krippendorff 2011, example A: two observers, ten binary units
    a = [[0, 1], [1, 1], [0, 1], [0, 0], [0, 0], [0, 1], [0, 0], [0, 0], [1, 0], [0, 0]]
    assert values(a, (0, 1))["alpha"] == pytest.approx(0.095, abs=5e-4)


def test_the_paradox_of_kappa():
    """Two raters who differ on 2 of 100 replies and nearly always say yes."""
    ratings = [[1, 1]] * 98 + [[1, 0], [0, 1]]
    found = values(ratings, (0, 1))
    assert found["raw"] == 0.98
    assert found["alpha"] < 0.01
    assert found["ac2"] > 0.97


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_as_two_packages_say(table):
    ratings = [[nan if value is None else value for value in unit] for unit in table["ratings"]]
    for scale in ("nominal", "ordinal"):
        found = values(ratings, range(table["categories"]), scale=scale)
        assert found["alpha"] == pytest.approx(table[f"alpha {scale}"], abs=1e-9)
        assert found["ac2"] == pytest.approx(table[f"ac2 {scale}"], abs=1e-9)
        assert found["raw"] == pytest.approx(table["raw"], abs=1e-9)


def test_ordinal_weights_are_gwets():
    assert weights_of("ordinal", 4).round(3).tolist()[0] == [1, 0.833, 0.5, 0]
    assert (weights_of("nominal", 3) == np.eye(3)).all()


def planted(rng, units, share, prevalence, raters=2):
    """Ratings whose alpha is `share`: raters copy one draw in that share of units."""
    one = rng.random((units, 1)) < prevalence
    own = rng.random((units, raters)) < prevalence
    return np.where(rng.random((units, 1)) < share, one, own).astype(float)


@pytest.mark.parametrize("prevalence", [0.5, 0.8])
def test_a_planted_agreement_is_found(prevalence):
    ratings = planted(np.random.default_rng(1), 4000, 0.8, prevalence, 3)
    found = agreement(ratings, (0, 1))["alpha"]
    assert found.value == pytest.approx(0.8, abs=0.03)
    assert found.low < 0.8 < found.high and found.high - found.low < 0.08


def test_replies_of_one_dialogue_are_not_independent():
    ratings = planted(np.random.default_rng(2), 30, 0.6, 0.5)
    alone = agreement(ratings, (0, 1))
    doubled = agreement(np.repeat(ratings, 4, axis=0), (0, 1), np.repeat(np.arange(30), 4))
    for name in ("raw", "ac2"):
        assert doubled[name].value == pytest.approx(alone[name].value)
        width, wanted = (one.high - one.low for one in (doubled[name], alone[name]))
        assert width == pytest.approx(wanted, rel=0.15)


def test_what_cannot_be_said_is_not_said():
    single = np.array([[1.0, nan], [nan, 0.0]])
    assert agreement(single, (0, 1)) == dict.fromkeys(MEASURES, NONE)
    same = agreement(np.ones((20, 2)), (0, 1))
    assert same["alpha"] == NONE  # nothing was told apart
    assert same["raw"].value == same["ac2"].value == 1
    assert 0.8 < same["ac2"].low < 0.9 and same["ac2"].high == 1  # 20 agreements are not certainty
    ratings = np.array([[1.0, 1.0], [0.0, 0.0]] * 20 + [[1.0, 0.0]])
    once = agreement(ratings, (0, 1))["alpha"]
    assert 0.7 < once.low < once.value < once.high < 1  # one unit holds all disagreement
    few = agreement(KRIPPENDORFF[:6], range(1, 6))
    assert few["raw"].value is not None and few["raw"].low is None
    with pytest.raises(ValueError, match="none of the categories"):
        agreement(np.array([[2.0, 1.0]]), (0, 1))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0, 1, 2, None]), min_size=3, max_size=3), min_size=12),
    st.randoms(use_true_random=False),
)
def test_order_of_units_and_raters_does_not_matter(rows, random):
    ratings = np.array([[nan if value is None else value for value in row] for row in rows])
    shuffled = list(rows)
    random.shuffle(shuffled)
    other = np.array([[nan if value is None else value for value in row[::-1]] for row in shuffled])
    first, second = (agreement(table, (0, 1, 2)) for table in (ratings, other))
    for name in MEASURES:
        for one, two in zip(first[name], second[name], strict=True):
            assert (one is None) == (two is None)
            assert one is None or one == pytest.approx(two, abs=1e-9)
        found = first[name]
        assert found.value is None or -1.001 <= found.value <= 1
        assert found.low is None or found.low <= found.value <= found.high
