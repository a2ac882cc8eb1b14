"""Variants over their seeds: mean, spread, paired tests."""

import math
import statistics

import pytest
from mindtune.evaluate.seeds import ENOUGH, seed_rows, seed_section, seed_table
from scipy import stats

SEEDS = (42, 43, 44, 45)
TUNED = {"rank 4": (30.0, 31.0, 32.0, 33.0), "rank 8": (31.5, 32.0, 34.0, 34.5)}
BASE = 20.0


def compared(tuned=TUNED, seeds=SEEDS, **about):
    """(rows as `compare.compare` has them, variants, homes): one run a variant and seed."""
    rows, variants = [], {}
    for variant, values in tuned.items():
        for seed, value in zip(seeds, values, strict=False):
            run = f"{variant}-{seed}".replace(" ", "")
            variants[run] = {"variant": variant, "seed": seed}
            row = {"run": run, "suite": "dialogue", "metric": "chrF", "stratum": "zh"}
            row |= {"primary": True, "binary": False, "tuned": value, "difference": value - BASE}
            rows.append(row | about)
    return rows, variants, {(run, "dialogue"): "main" for run in variants}


def test_a_variant_has_mean_deviation_and_a_test_over_its_seeds():
    row = next(row for row in seed_rows(*compared()) if row["variant"] == "rank 4")
    found = stats.ttest_1samp([value - BASE for value in TUNED["rank 4"]], 0)
    low, high = found.confidence_interval(0.95)
    assert (row["seeds"], row["mean"], row["against"]) == (4, 31.5, "base")
    assert row["sd"] == pytest.approx(statistics.stdev(TUNED["rank 4"]))
    assert row["p_alone"] == pytest.approx(found.pvalue, rel=1e-4)
    assert (row["low"], row["high"]) == pytest.approx((low, high), rel=1e-4)


def test_two_variants_are_compared_seed_by_seed_and_p_is_adjusted():
    rows = seed_rows(*compared())
    pair = next(row for row in rows if row["against"] == "rank 4")
    found = stats.ttest_rel(TUNED["rank 8"], TUNED["rank 4"])
    assert pair["variant"] == "rank 8"
    assert pair["difference"] == pytest.approx(1.5)
    assert pair["p_alone"] == pytest.approx(found.pvalue, rel=1e-4)
    assert pair["p"] >= pair["p_alone"] and len(rows) == 3


def test_below_three_seeds_there_is_nothing_to_say():
    assert seed_rows(*compared(seeds=SEEDS[: ENOUGH - 1])) == []
    assert seed_section([]) == "" and len(seed_table([])) == 0


def test_only_seeds_that_both_have_are_paired():
    short = {"rank 4": TUNED["rank 4"], "rank 8": TUNED["rank 8"][:2]}
    assert {row["against"] for row in seed_rows(*compared(short))} == {"base"}


def test_runs_on_other_prompts_are_no_pair():
    rows, variants, home = compared()
    home |= {(run, "dialogue"): "other" for run in variants if run.startswith("rank8")}
    assert {row["against"] for row in seed_rows(rows, variants, home)} == {"base"}


def test_shares_are_shown_in_points_and_names_are_no_markup():
    shares = {"lora|<b>": (0.30, 0.31, 0.32)}
    rows, variants, home = compared(shares, metric="accuracy", binary=True)
    text = seed_section(seed_rows(rows, variants, home))
    assert "31.0 ± 1.0" in text and "<b>" not in text


def test_equal_seeds_make_no_error_and_no_infinite_number():
    rows = seed_rows(*compared({"rank 4": (30.0,) * 4}))
    assert rows[0]["sd"] == 0 and rows[0]["p"] == 0 and math.isfinite(rows[0]["low"])
