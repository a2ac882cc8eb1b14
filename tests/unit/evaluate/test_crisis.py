"""The crisis items: what they ask, the rules that decide some of them, and what the rules are
worth.
"""

from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.data.hotlines import load_hotlines
from mindtune.evaluate.crisis_items import DIMENSIONS, answers, passes, read_items, rules_worth
from mindtune.evaluate.crisis_rules import RULES, decide, help_numbers, normalised
from mindtune.records import read_jsonl

ROOT = Path(__file__).parents[3]
ITEMS = read_items(ROOT / "resources/crisis/items.yaml")
HOTLINES = load_hotlines(ROOT / "config/hotlines.yaml")
DECIDED = [item for item in ITEMS.values() if item.rule]


def chinese(text):
    return any("一" <= sign <= "鿿" for sign in text)


def test_there_are_twenty_items_and_more_in_five_dimensions():
    assert len(ITEMS) >= 20 and {item.dimension for item in ITEMS.values()} == set(DIMENSIONS)
    for item in ITEMS.values():
        assert set(item.question) == {"zh", "en"}, item.name
        for replies in (item.passing, item.failing):
            assert sorted(map(chinese, replies)) == [False, True], item.name


@pytest.mark.parametrize("item", DECIDED, ids=lambda item: item.name)
def test_a_rule_decides_the_items_own_examples(item):
    found = {reply: decide(item.rule, reply, HOTLINES) for reply in [*item.passing, *item.failing]}
    assert [found[reply] == item.good for reply in item.passing] == [True, True], found
    assert [found[reply] == item.good for reply in item.failing] == [False, False], found


def test_what_the_rules_are_worth_is_measured():
    measured = rules_worth(ROOT / "resources/crisis/labelled.jsonl", set(RULES), HOTLINES)
    rows = list(read_jsonl(ROOT / "resources/crisis/labelled.jsonl"))
    assert {label for row in rows for label in row["labels"]} == set(RULES) - {"crisis_response"}
    for rule, found in measured.items():
        whole = sum("hotline_given" in row["labels"] for row in rows)
        assert found["labelled"] + found["clear"] == (
            whole if rule == "hotline_correct" else len(rows)
        )
        assert found["recall"] >= 0.7 and found["false_positive_rate"] <= 0.1, (rule, found)


def test_a_branch_that_was_not_taken_is_not_asked():
    none = answers(ITEMS, True, "多喝热水。", HOTLINES)
    assert none["resources_hotline"] is False and "resources_hotline_correct" not in none
    some = answers(ITEMS, True, "请拨打12356。", HOTLINES)
    assert some["resources_hotline"] is some["resources_hotline_correct"] is True
    wrong = answers(ITEMS, True, "请拨打12356或者800-123-4567。", HOTLINES)
    assert passes(ITEMS, wrong)["resources_hotline_correct"] is False
    assert set(answers(ITEMS, False, "请拨打12356。", HOTLINES)) == {
        "detects_no_alarm_when_harmless"
    }


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("全国热线是一二三五六", ["12356"]),
        ("请拨打１２３５６", ["12356"]),
        ("北京的热线010-82951332", ["010-82951332"]),
        ("每天打坐 120 分钟", []),
        ("call me in 2 days", []),
        ("在2024年开通的热线", []),
        ("我今年350斤了", []),
        ("take 120 mg", []),
        ("Call 120 or 110.", ["120", "110"]),
    ],
)
def test_numbers_to_call_are_found_and_others_are_not(text, numbers):
    assert help_numbers(normalised(text)) == numbers


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ("dimension: moods", "dimension is one of"),
        ("rule: nothing", "there is no rule 'nothing'"),
        ("when: {later: yes}", "when names 'later'"),
        ("score: 5", "needs the keys"),
    ],
)
def test_an_item_that_cannot_be_asked_is_one_sentence(tmp_path, edit, words):
    lines = {
        "dimension": "dimension: detects", "asked_of": "asked_of: risk", "good": "good: yes",
        "question": "question: {zh: 问, en: "
"ask}", "pass": "pass: [好, good]", "fail": "fail: [坏, bad]",
    }  # fmt: skip
    lines[edit.partition(":")[0]] = edit
    (tmp_path / "i.yaml").write_text("一:\n" + "".join(f"  {line}\n" for line in lines.values()))
    with pytest.raises(UserError, match=words) as error:
        read_items(tmp_path / "i.yaml")
    assert "item 一" in str(error.value)


def test_prompts_come_in_pairs_with_every_kind_of_signal():
    rows = list(read_jsonl(ROOT / "resources/crisis/prompts.jsonl"))
    pairs = {}
    for row in rows:
        pairs.setdefault(row["pair"], []).append(row)
    assert all(sorted(row["risk"] for row in pair) == [False, True] for pair in pairs.values())
    signals = [row["signal"] for row in rows if row["risk"]]
    assert min(signals.count(kind) for kind in ("explicit", "indirect", "contextual")) >= 7
    assert not any(decide("method_named", row["prompt"], HOTLINES) for row in rows)
