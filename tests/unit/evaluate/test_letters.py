"""Which letters a reply names: the ways in which models write them, and what names none."""

import pytest
from mindtune.evaluate.letters import parse_letters

OPTIONS = ["感知运动阶段", "形式运算阶段", "具体运算阶段", "前运算阶段"]


@pytest.mark.parametrize(
    ("reply", "letters"),
    [
        ("B", "B"), ("b", "B"), ("Ｂ", "B"), ("（Ｃ）", "C"), ("A和C", "AC"), ("Ａ、Ｃ、Ｄ", "ACD"),
            ("ACD", "ACD"),
        ("答案：B。因为A不对", "B"), ("答案是B", "B"), ("正确答案为：（B）", "B"), ("答案：AC",
            "AC"), ("我选C", "C"),
        ("选择 D 项", "D"), ("应该选A", "A"), ("A因为", "A"), ("B. 形式运算阶段", "B"),
            ("这道题考的是皮亚杰，"
"D是对的", "D"),
        ("选项A和B都不对，"
"答案是C", "C"), ("答案不是A，而是B", "B"), ("A 和 B 都对，选AB", "AB"), ("感知运动阶段", "A"),
        ("**B**", "B"), ("$\\boxed{D}$", "D"), ("The answer is (C).", "C"), ("The correct option "
"is: B) formal", "B"),
        ("A and C", "AC"), ("Answer: A and C", "AC"), ("B because it fits", "B"), ("A is correct",
            "A"), ("I think B", "B"),
        ("the correct answer is always A.\nAnswer: "
"C", "C"), ("正确答案总是A。答案：C", "C"), ("答案：A\n答案：A", "A"),
    ],
)  # fmt: skip
def test_letters_are_found(reply, letters):
    assert parse_letters(reply, OPTIONS) == frozenset(letters)


@pytest.mark.parametrize(
    "reply",
    [
        "", "我不知道", "这几项都有道理。", "A good question.", "As a model, I cannot "
"say.", "E", "答案：E", "A或B", "排除A和B",
        "The answer is not A", "the correct answer is always "
"A", "正确答案永远是A", "答案：B。后来我想答案是C",
        "CBT 是一种疗法", "Dialogue helps.", "I, for one, like it.",
    ],
)  # fmt: skip
def test_what_names_no_answer_or_two_is_unparsable(reply):
    assert parse_letters(reply, OPTIONS) is None


def test_only_offered_letters_count():
    assert parse_letters("C", ["对", "错"]) is None and parse_letters(
        "E", [*OPTIONS, "都不是"]
    ) == {"E"}
