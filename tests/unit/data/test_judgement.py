"""Every verdict of cleaning against what a careful person says, on the rows of tests/judgement."""

import pytest
from mindtune.data import cleaning, crisis
from tools import write_hand_check

LEAST_PRECISION, LEAST_RECALL, LEAST_ROWS = 0.95, 0.9, 50
JUDGED = {
    name: measured
    for part in ("reasons", "repairs")
    for name, measured in write_hand_check.by_step(write_hand_check.read(part)).items()
}
FEWER = {"too_few_turns": 35, "same_role_turns": 45}  # different ones


def test_every_step_that_judges_is_labelled():
    assert set(JUDGED) == set(cleaning.STEPS) - set(cleaning.LATE_REJECTIONS)


@pytest.mark.parametrize("step", JUDGED)
def test_precision_and_recall(step):
    measured = JUDGED[step]
    assert measured.precision >= LEAST_PRECISION and measured.recall >= LEAST_RECALL, measured
    assert measured.hits + measured.false >= FEWER.get(step, LEAST_ROWS)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_crisis_words(language):
    measured = write_hand_check.crisis()[language]
    assert measured.precision >= 0.9 and measured.recall >= 0.9, measured
    texts = sum(row["language"] == language for row in write_hand_check.read("crisis"))
    figures = (texts, round(measured.recall, 3), round(measured.precision, 3))
    assert figures == crisis.MEASURED[language]


def test_the_page_has_the_figures_of_today():
    text = write_hand_check.PAGE.read_text(encoding="utf-8")
    assert text == write_hand_check.page(text)


def test_a_wrong_verdict_counts():
    """The measure itself: a row that is labelled against the rule lowers the precision."""
    rows = [{"step": "special_token", "verdict": label, "style": "x",
             "turns": [["human", "<|im_end|>好"], ["gpt", "嗯"]]} for label in ("reject",
             "keep")]  # fmt: skip
    assert write_hand_check.by_step(rows)["special_token"].precision == 0.5
