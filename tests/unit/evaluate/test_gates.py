"""Gates: a planted loss fails, no change passes, and data that cannot tell say so."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from item_scores import binary_pair, item_scores, together
from mindtune.cli import UserError
from mindtune.evaluate.gates import decide, decide_gates, overall
from mindtune.evaluate.items import write_items
from mindtune.evaluate.systems import Scores

SCRIPTS = Path(__file__).parents[3] / "scripts"
POLICY = {
    "max_loss": 0.06, "better": None, "level": 0.95, "min_items": 0, "if_missing": "not_certified",
}  # fmt: skip
N = 1200


def gate(values, name="knowledge.accuracy", metric="accuracy", **policy):
    """The verdict row of one gate."""
    (row,) = decide_gates(item_scores(values, metric=metric), {name: POLICY | policy}, "main")
    return row


def failing(loss, seed, repeats=400):
    """The share of simulated models with a true loss that fail the gate."""
    rng = np.random.default_rng(seed)
    places, verdicts = np.arange(N), []
    for _ in range(repeats):
        pair = binary_pair(rng, N, loss)
        sides = (Scores(places, places, pair[name][:, None]) for name in ("base", "tuned"))
        verdicts.append(decide("knowledge.accuracy", POLICY, tuple(sides))["verdict"])
    assert "not certified" not in verdicts
    return verdicts.count("failed") / repeats


def test_the_loss_that_a_gate_says_it_notices_fails_in_four_of_five_cases():
    """A small version of scripts/bench/bench_intervals.py."""
    noticed = gate(binary_pair(np.random.default_rng(0), N, 0.0))["detects"]
    assert 0.02 < noticed < 0.06
    assert 0.75 < failing(noticed, seed=1) < 0.85
    assert failing(2 * noticed, seed=2) > 0.98
    assert failing(0.0, seed=3) < 0.05


def test_too_few_items_are_refused_in_a_sentence():
    row = gate(binary_pair(np.random.default_rng(0), 100, 0.0))
    assert row["verdict"] == "not certified" and row["smallest_max_loss"] > 0.06
    assert "with n = 100 no tolerated loss below" in row["sentence"]


def test_a_loss_or_a_gain_that_nobody_doubts_needs_no_size():
    right, wrong = [1.0] * 40, [0.0] * 40
    assert gate({"base": right, "tuned": wrong})["verdict"] == "failed"
    assert gate({"base": wrong, "tuned": right})["verdict"] == "passed"


def test_a_metric_that_counts_something_bad_is_turned_round():
    wrong, right = [1.0] * 40, [0.0] * 40
    more = gate({"base": right, "tuned": wrong}, "knowledge.repetition_x", "repetition_x")
    assert more["verdict"] == "passed", "an unknown metric is better if it is higher"
    more = gate({"base": right, "tuned": wrong}, "knowledge.unparsable", "unparsable")
    assert more["verdict"] == "failed" and more["gain"] == -1
    same = gate({"base": right, "tuned": wrong}, "knowledge.x", "x", better="lower")
    assert same["verdict"] == "failed"


def test_what_was_not_measured_is_not_passed():
    assert gate({"base": [1], "tuned": [1]}, "crisis.passed")["verdict"] == "not certified"
    missing = gate({"base": [1], "tuned": [1]}, "crisis.passed", if_missing="fail")
    assert missing["verdict"] == "failed" and "it was not measured" in missing["sentence"]
    assert gate({"base": [None] * 20, "tuned": [1] * 20})["verdict"] == "not certified"


def test_nine_clusters_and_the_smallest_number_of_items():
    assert gate({"base": [1] * 9, "tuned": [1] * 9})["verdict"] == "not certified"
    row = gate(binary_pair(np.random.default_rng(0), N, 0.0), min_items=N + 1)
    assert row["verdict"] == "not certified" and "the gate asks for 1,201" in row["sentence"]


def test_a_gate_without_a_language_holds_for_every_language():
    values = binary_pair(np.random.default_rng(0), N, 0.0)
    items = together([item_scores(values, metric=f"accuracy@{name}") for name in ("zh", "en")])
    rows = decide_gates(items, {"knowledge.accuracy": POLICY}, "main")
    assert [row["gate"] for row in rows] == ["knowledge.accuracy@zh", "knowledge.accuracy@en"]
    rows = decide_gates(items, {"knowledge.accuracy@en": POLICY}, "main")
    assert [row["gate"] for row in rows] == ["knowledge.accuracy@en"]


def test_names_and_directions_that_say_nothing_are_refused():
    with pytest.raises(UserError, match="expected SUITE.METRIC"):
        gate({"base": [1], "tuned": [1]}, "accuracy")
    with pytest.raises(UserError, match="say better: higher or lower"):
        sides = ("reply", "reference")
        even = {"base": [1] * 20, "tuned": [1] * 20}
        items = together([item_scores(even, metric=f"length_ratio:{side}") for side in sides])
        decide_gates(items, {"knowledge.length_ratio": POLICY}, "main")


def test_one_failed_gate_fails_all_and_no_gate_certifies_nothing():
    assert overall(["passed", "not certified", "failed"]) == "failed"
    assert overall(["passed", "not certified"]) == "not certified"
    assert overall(["passed", "passed"]) == "passed" and overall([]) == "not certified"


@pytest.mark.parametrize(
    ("loss", "policies", "status", "said"),
    [
        (0.0, {"knowledge.accuracy": POLICY}, 0, "gates: passed"),
        (0.2, {"knowledge.accuracy": POLICY}, 2, "gates: failed"),
        (0.0, {"crisis.passed": POLICY}, 3, "gates: not certified"),
        (0.0, {}, 3, "no gate is configured"),
    ],
)
def test_the_exit_code_is_the_verdict(tmp_path, loss, policies, status, said):
    values = binary_pair(np.random.default_rng(0), N, loss)
    write_items(tmp_path / "i.parquet", item_scores(values))
    decide = [SCRIPTS / "decide_gates.py", "--items", "i.parquet", "--gates", json.dumps(policies)]
    judge = [SCRIPTS / "gate.py", "--gates", "gates.json", "--run", "main"]
    for command, wanted in (([*decide, "--record", "gates.json"], 0), (judge, status)):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == wanted, done.stderr
    assert said in done.stdout
