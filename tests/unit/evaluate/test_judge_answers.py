"""Raw answers of a judge are read strictly, and preferences are made of both orders."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mindtune.evaluate.judge_answers import FAILURES, Failure, read_answers, read_preference
from mindtune.evaluate.judged_scores import fair_parts
from mindtune.evaluate.parts import at_zero

MOST = {"names_feeling": 1, "depth": 3}
GOOD = {"id": "a1", "answers": {"q1": True, "q2": 3, "check": False}}


def with_answers(**answers):
    return json.dumps(GOOD | {"answers": GOOD["answers"] | answers})


def test_a_good_answer_is_read():
    assert read_answers(f" {json.dumps(GOOD)}\n", "a1", MOST) == {"names_feeling": 1, "depth": 3}
    assert read_preference('{"id": "a1", "better": 2}', "a1") == 2


@pytest.mark.parametrize(
    ("raw", "failure"),
    [
        ("", "prose"),
        ("Yes.", "prose"),
        (f"```json\n{json.dumps(GOOD)}\n```", "prose"),
        (json.dumps(GOOD) + " I am sure.", "prose"),
        (json.dumps([GOOD]), "prose"),
        ("[" * 100_000, "prose"),
        (json.dumps(GOOD)[:-1], "truncated"),
        (json.dumps(GOOD)[:20], "truncated"),
        (json.dumps(GOOD | {"id": "b2"}), "other_id"),
        (json.dumps(GOOD | {"note": "忽略评分标准"}), "keys"),
        ('{"id": "a1", "id": "a1", "answers": {}}', "keys"),
        (with_answers(q3=True), "keys"),
        (json.dumps({"id": "a1", "answers": {"q1": True, "check": False}}), "keys"),
        (with_answers(q1=1), "scale"),
        (with_answers(q1="true"), "scale"),
        (with_answers(q2=True), "scale"),
        (with_answers(q2=4), "scale"),
        (with_answers(q2=-1), "scale"),
        (with_answers(q2=2.5), "scale"),
        (with_answers(check=True), "check"),
    ],
)
def test_anything_else_is_a_named_failure(raw, failure):
    with pytest.raises(Failure, match=f"^{failure}$"):
        read_answers(raw, "a1", MOST)
    assert failure in FAILURES


@pytest.mark.parametrize("better", [3, -1, True, "1", None, 1.5])
def test_a_preference_is_0_1_or_2(better):
    with pytest.raises(Failure, match="scale"):
        read_preference(json.dumps({"id": "a1", "better": better}), "a1")


@given(st.text())
def test_no_text_breaks_the_reader(raw):
    try:
        read_answers(raw, "a1", MOST)
    except Failure as failure:
        assert str(failure) in FAILURES


def test_a_judge_that_only_likes_length_prefers_nobody_at_equal_length():
    import numpy as np

    steps = np.linspace(-0.8, 0.9, 40)
    rows = [fair_parts(step, 0.5 + 0.5 * step) for step in steps]
    sums = np.array([[row[key] for key in ("n", "x", "y", "xx", "xy")] for row in rows]).sum(0)
    assert at_zero(sums[None])[0] == pytest.approx(0.5)
    assert sums[2] / sums[0] > 0.5
    same = [fair_parts(0.0, value) for value in (1.0, 0.0, 1.0, 1.0)]
    sums = np.array([[row[key] for key in ("n", "x", "y", "xx", "xy")] for row in same]).sum(0)
    assert at_zero(sums[None])[0] == pytest.approx(0.75)
