"""Base and tuned on the same items: pairs by id, clusters, languages apart, p values adjusted."""

import numpy as np
import pytest
from item_scores import binary_pair, item_scores, together
from mindtune.evaluate.compare import compare, system_values
from mindtune.evaluate.intervals import mcnemar_p, wilson
from mindtune.evaluate.metrics import columns


def test_binary_items_have_wilsons_interval_and_exact_mcnemar():
    values = binary_pair(np.random.default_rng(1), 400, loss=0.05)
    (row,) = compare(item_scores(values))
    lost = int(((values["base"] == 1) & (values["tuned"] == 0)).sum())
    gained = int(((values["base"] == 0) & (values["tuned"] == 1)).sum())
    assert (row["n"], row["n_clusters"], row["lost"], row["gained"]) == (400, 400, lost, gained)
    assert row["p_alone"] == pytest.approx(mcnemar_p(lost, gained))
    assert row["difference"] == pytest.approx((gained - lost) / 400)
    assert (row["tuned_low"], row["tuned_high"]) == pytest.approx(
        wilson(values["tuned"].sum(), 400)
    )
    assert row["low"] < row["difference"] < row["high"] and row["primary"]


def test_the_same_turn_five_times_over_is_no_new_evidence():
    rng = np.random.default_rng(2)
    values = {model: rng.normal(20, 5, 30) for model in ("base", "tuned")}
    often = {model: np.repeat(column, 5) for model, column in values.items()}
    (once,) = compare(item_scores(values, metric="ROUGE-L@zh"))
    (clustered,) = compare(item_scores(often, metric="ROUGE-L@zh", size=5))
    (pooled,) = compare(item_scores(often, metric="ROUGE-L@zh"))
    assert clustered["high"] - clustered["low"] == pytest.approx(once["high"] - once["low"])
    assert pooled["high"] - pooled["low"] < 0.6 * (once["high"] - once["low"])


def test_items_are_paired_by_id_and_none_disappears():
    items = item_scores({"base": [1, 0, 1, None] * 6, "tuned": [1, 1, None, 0] * 6})
    extra = items[(items["model"] == "tuned") & (items["id"] == "题00000")]
    (row,) = compare(items.drop(extra.index))
    assert (row["asked"], row["n"], row["unscored"]) == (23, 11, 12)
    by_model = {row["model"]: row for row in system_values(items)}
    assert (by_model["tuned"]["n"], by_model["tuned"]["unscored"]) == (18, 6)


def test_below_ten_clusters_there_is_no_interval_and_no_p():
    (row,) = compare(item_scores({"base": [0] * 45, "tuned": [1] * 45}, size=5))
    assert row["n_clusters"] == 9 and row["difference"] == 1
    assert [row[key] for key in ("low", "high", "p", "p_alone", "mde", "tuned_low")] == [None] * 6


def test_languages_stay_apart():
    """Pooling Chinese and English turned -0.79 and +1.83 into +0.30."""
    rng = np.random.default_rng(3)
    parts = []
    for stratum, change in (("zh", -3.0), ("en", 3.0)):
        base = rng.normal(20, 1, 20)
        values = {"base": base, "tuned": base + change + rng.normal(0, 0.5, 20)}
        parts.append(item_scores(values, metric=f"ROUGE-1@{stratum}"))
    rows = {row["stratum"]: row for row in compare(together(parts))}
    assert set(rows) == {"zh", "en"}
    assert rows["zh"]["high"] < 0 < rows["en"]["low"]


def test_a_subject_has_an_interval_and_no_p():
    values = binary_pair(np.random.default_rng(4), 200, loss=0.2, changed=0.3)
    items = together([item_scores(values), item_scores(values, metric="accuracy@咨询师")])
    rows = {row["stratum"]: row for row in compare(items)}
    assert rows["咨询师"]["low"] is not None and rows["咨询师"]["p"] is None
    assert rows[""]["p"] == rows[""]["p_alone"], "one test needs no adjustment"


def test_a_system_against_itself_differs_by_nothing():
    rng = np.random.default_rng(5)
    values = rng.integers(1, 30, 20).astype(float)
    parts = [
        item_scores({"base": values, "tuned": values}, metric=part) for part in columns("BLEU")
    ]
    (row,) = compare(together(parts))
    assert (row["difference"], row["low"], row["high"], row["p"], row["mde"]) == (0, 0, 0, 1, 0)


def test_runs_are_compared_with_each_other():
    values = binary_pair(np.random.default_rng(6), 100, loss=0.1)
    items = together(
        [
            item_scores({"base": values["base"], "tuned": values["base"]}, run="a"),
            item_scores({"base": values["base"], "tuned": values["tuned"]}, run="b"),
        ]
    )
    (row,) = compare(
        items, first={"run": "a", "model": "tuned"}, second={"run": "b", "model": "tuned"}
    )
    assert row["difference"] == pytest.approx(values["tuned"].mean() - values["base"].mean())


def test_a_metric_without_one_of_its_parts_is_refused():
    items = item_scores({"base": [1] * 12, "tuned": [1] * 12}, metric="BLEU:correct_1")
    with pytest.raises(ValueError, match="lacks its part"):
        compare(items)
