"""Rubrics as data: complete in zh and en, and a sentence for each mistake."""

import re
from pathlib import Path

import pytest
import yaml
from mindtune.cli import UserError
from mindtune.evaluate.rubrics import LANGUAGES, chosen_rubrics, read_rubric, rubric_files

ROOT = Path(__file__).resolve().parents[3]
FILES = rubric_files(ROOT / "config/rubrics")
OWN = ("professionalism", "empathy", "practicality", "conversation")


@pytest.mark.parametrize("name", FILES)
def test_a_rubric_is_complete_in_both_languages(name):
    rubric = read_rubric(FILES[name], ROOT)
    assert rubric.behaviours and rubric.suites
    for behaviour in rubric.behaviours.values():
        assert set(behaviour.question) == set(LANGUAGES)
        every = [
            text
            for side in (behaviour.passing, behaviour.failing)
            for language in LANGUAGES
            for text in side[language]
        ]
        assert len(every) == len(set(every)) and len(every) >= 4


@pytest.mark.parametrize("name", OWN)
def test_ours_have_four_to_six_binary_behaviours(name):
    rubric = read_rubric(FILES[name], ROOT)
    assert 4 <= len(rubric.behaviours) <= 6
    assert all(behaviour.is_binary for behaviour in rubric.behaviours.values())
    for behaviour in rubric.behaviours.values():
        assert behaviour.share(float(behaviour.good)) == 1
        assert behaviour.share(float(not behaviour.good)) == 0


def test_crisis_items_are_asked_where_they_apply():
    rubric = read_rubric(FILES["crisis_judged"], ROOT)
    risk = {"risk": True, "kind": "passive"}
    asked = rubric.applying(risk, "你现在有没有想过要结束自己的生命？")
    assert "probes_asks_plan" in asked and "detects_other_person" not in asked
    assert "probes_asks_plan" not in rubric.applying(risk, "多喝水。")
    assert "detects_other_person" in rubric.applying(risk | {"kind": "other_risk"}, "多喝水。")
    assert not rubric.applying({"risk": False, "kind": "none"}, "多喝水。")


GOOD = yaml.safe_load(FILES["empathy"].read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"behaviour": {}}, "the key 'behaviour' is unknown; the nearest is behaviours"),
        ({"suites": None}, "the key suites is missing"),
        ({"items": "x.yaml"}, "needs behaviours or items, and not both"),
        ({"prefer": {"zh": "哪个好？"}}, "prefer needs a text for each of zh, en"),
        ({"behaviours": {"x": {"question": {"zh": "好？", "en": ""}}}}, "x.question.en is ''"),
        (
            {"behaviours": {"x": GOOD["behaviours"]["names_feeling"] | {"good": "maybe"}}},
            "x.good is 'maybe'; give yes or no",
        ),
        (
            {"behaviours": {"x": GOOD["behaviours"]["names_feeling"] | {"pass": {"zh": ["一"]}}}},
            "x.pass.zh is ['一']; give 2 different replies",
        ),
        (
            {"behaviours": {"x": GOOD["behaviours"]["names_feeling"] | {"most": 0}}},
            "x.most is 0",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, change, words):
    said = {key: value for key, value in (GOOD | change).items() if value is not None}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(said, allow_unicode=True), encoding="utf-8")
    with pytest.raises(UserError, match="mine.yaml") as error:
        read_rubric(path, ROOT)
    assert words in str(error.value)


def test_rubrics_are_chosen_by_name_and_by_what_is_evaluated():
    judge = {"models": {"a": {}}, "rubrics": ["empathy", "crisis_judged"]}
    assert set(chosen_rubrics(judge, {"dialogue": {}}, False, ROOT)) == {"empathy"}
    assert not chosen_rubrics(judge | {"models": {}}, {"dialogue": {}}, True, ROOT)
    with pytest.raises(UserError, match="the nearest is empathy"):
        chosen_rubrics(judge | {"rubrics": ["empaty"]}, {}, False, ROOT)


def test_a_rubric_of_conversations_is_chosen_where_there_are_some():
    judge = {"models": {"a": {}}, "rubrics": ["empathy", "conversation"]}
    assert set(chosen_rubrics(judge, {}, True, ROOT)) == {"conversation"}
    assert not chosen_rubrics(judge, {}, False, ROOT)
    with pytest.raises(UserError, match="has the name of the simulated conversations"):
        chosen_rubrics(judge, {"conversations": {}}, True, ROOT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"of": "talks"}, "of is 'talks'; expected replies or conversations"),
        ({"of": "conversations"}, "suites is about single replies"),
        ({"of": "conversations", "suites": None}, "prefer is about single replies"),
        ({"suites": ["conversations"]}, "write `of: conversations` and no suites"),
        ({"suites": None}, "the key suites is missing"),
    ],
)
def test_a_rubric_is_of_replies_or_of_conversations(tmp_path, change, words):
    said = {key: value for key, value in (GOOD | change).items() if value is not None}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(said, allow_unicode=True), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(words)):
        read_rubric(path, ROOT)
