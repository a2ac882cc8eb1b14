"""Questions in their published forms, and the dirt that is refused or listed."""

import json

import pytest
from mindtune.cli import UserError
from mindtune.evaluate.choice_prompts import OTHER_ORDER, question_prompts
from mindtune.evaluate.questions import (
    Question,
    checked,
    cpsyexam,
    mmlu,
    own_form,
    safetybench,
    with_clusters,
)

INSTRUCTION = {"zh": "请选一项。", "zh_multiple": "请选出所有正确的。", "en": "Choose one."}


def question(name="一", text="哪一项是感觉？", options=("视觉", "思维"), key="A", **more):
    return Question(name, "zh", text, list(options), key, **more)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (question(key="C"), "its key 'C' is none of its options AB"),
        (question(key=""), "its key ''"),
        (question(options=("视觉", "视觉")), "two of its options are equal"),
        (question(options=("视觉", "")), "one of its options is empty"),
        (question(options=("视觉",)), "it has 1 options"),
        (question(key="AB"), "asks for one answer and its key 'AB' has 2"),
        (question(multiple=True), "asks for several answers and its key 'A' has one"),
        (question("另一个号"), "the same question as 好"),
        (question("好", text="另一题"), "its id stands there twice"),
    ],
)
def test_a_key_that_cannot_be_right_is_refused_or_listed(bad, words):
    good = question("好")
    with pytest.raises(UserError, match=words) as error:
        checked([good, bad], "refuse", "suite x")
    assert "dirt: exclude" in str(error.value) and bad.id in str(error.value)
    kept, excluded = checked([good, bad], "exclude", "suite x")
    assert kept == [good] and excluded[0]["id"] == bad.id and words in excluded[0]["reason"]


def test_the_same_text_with_other_options_is_another_question():
    kept, excluded = checked(
        [question(), question("二", options=("知觉", "听觉"), key="B")], "exclude", "x"
    )
    assert len(kept) == 2 and not excluded


def test_published_forms(tmp_path):
    exam = {
        "subject_name": "普通心理学",
        "question_type": "multi",
        "question": "<p>以下&nbsp;哪些？</p>",
        "id": "a1",
    }
    exam |= {"options": {"A": "甲", "B": "乙", "C": "丙", "E": "", "D": ""}, "answer": "CA"}
    (tmp_path / "KG-GEE-普通.json").write_text(
        json.dumps([exam], ensure_ascii=False), encoding="utf-8"
    )
    (found,) = cpsyexam([tmp_path / "KG-GEE-普通.json"])
    assert (found.text, found.options, found.key, found.multiple) == (
        "以下 哪些？",
        ["甲", "乙", "丙"],
        "AC",
        True,
    )
    assert found.strata == ["graduate-entrance", "普通心理学"]
    (tmp_path / "x_test.csv").write_text('"Which, if any?",1,2,3,4,D\n', encoding="utf-8")
    (found,) = mmlu([tmp_path / "x_test.csv"])
    assert (found.text, found.key, found.strata, found.lang) == ("Which, if any?", "D", ["x"], "en")
    asked = [{"id": 7, "options": ["是。", "否。"], "category": "Mental Health", "question": "？"}]
    (tmp_path / "test_zh.json").write_text(json.dumps(asked), encoding="utf-8")
    (tmp_path / "test_answers_zh.json").write_text('{"7": {"answer": 1}}', encoding="utf-8")
    files = sorted(tmp_path.glob("test_*.json"))
    (found,) = safetybench(files)
    assert (found.id, found.key, found.strata) == ("safetybench-7", "B", ["mental-health"])
    (tmp_path / "test_answers_zh.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="question 7 has no key"):
        list(safetybench(files))


def test_the_projects_own_questions_can_all_be_asked():
    from pathlib import Path

    resources = Path(__file__).parents[3] / "resources"
    for name in ("knowledge", "safety"):
        kept, _ = checked(own_form([resources / name / "questions.jsonl"]), "refuse", name)
        assert len(kept) >= 20 and {found.lang for found in kept} == {"zh", "en"}


def test_questions_about_one_case_are_one_cluster():
    case = "案例三：" + "求助者三十六岁，近一个月失眠、烦躁。" * 5
    questions = [
        question("a", case + "该症状是？"),
        question("b", case + "下一步是？"),
        question("c", "短题？"),
        question("d", "短题？ "),
    ]
    with_clusters(questions)
    assert [found.cluster for found in questions] == ["a", "a", "c", "d"]


def test_in_the_other_order_no_option_stays_and_the_key_moves_along():
    asked = [
        question(str(n), f"第{n}题？", ("甲", "乙", "丙", "丁"), "ABCD"[n % 4]) for n in range(40)
    ]
    rows = question_prompts(asked, INSTRUCTION, 1)
    assert rows == question_prompts(asked, INSTRUCTION, 1) and len(rows) == 80
    for printed, other in zip(rows[::2], rows[1::2], strict=True):
        assert other["id"] == printed["id"] + OTHER_ORDER and other["question"] == printed["id"]
        assert all(a != b for a, b in zip(printed["options"], other["options"], strict=True))
        right = [row["options"]["ABCD".index(row["answer"])] for row in (printed, other)]
        assert right[0] == right[1]
        assert other["prompt"][0]["content"].endswith(f"D. {other['options'][3]}")
    assert len({tuple(row["options"]) for row in rows[1::2]}) > 3


def test_options_that_speak_of_the_others_keep_their_order():
    for last in ("以上都对", "All of the above", "A和B"):
        rows = question_prompts([question(options=("甲", "乙", last))], INSTRUCTION, 1)
        assert [row["id"] for row in rows] == ["一"]


def test_an_instruction_that_is_missing_is_a_sentence():
    with pytest.raises(UserError, match="needs the suite's instruction zh_multiple"):
        question_prompts([question(key="AB", multiple=True)], {"zh": "请选"}, 0)


OWN = {"id": "a", "lang": "zh", "type": "single", "question": "？", "answer": "A", "topic": "t"}
OWN |= {"options": {"A": "甲", "B": "乙"}}


@pytest.mark.parametrize("key", list(OWN))
def test_a_row_without_a_key_is_one_sentence(tmp_path, key):
    rows = [OWN, {name: value for name, value in OWN.items() if name != key}]
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(UserError, match=rf"q\.jsonl row 2: {key} is None; expected (str|dict)"):
        list(own_form([path]))


def test_rows_of_published_forms_that_lack_something_are_one_sentence(tmp_path):
    path = tmp_path / "KG-GEE-x.json"
    path.write_text('[{"id": "1", "question": "？"}]', encoding="utf-8")
    with pytest.raises(UserError, match="row 1: question_type is None; expected str"):
        list(cpsyexam([path]))
    path = tmp_path / "x_test.csv"
    path.write_text("only,two\n", encoding="utf-8")
    with pytest.raises(UserError, match="row 1 has 2 columns; expected 6"):
        list(mmlu([path]))
    path = tmp_path / "test.json"
    row = {"id": 3, "question": "？", "category": "Mental Health", "options": ["甲", "乙"]}
    path.write_text(json.dumps([row]), encoding="utf-8")
    answers = tmp_path / "answers.json"
    for text in ("{}", '{"3": {"category": "x"}}', '{"3": 1}'):
        answers.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="question 3 has no key in a file"):
            list(safetybench([path, answers]))
