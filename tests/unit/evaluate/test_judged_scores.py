"""Scores from raw answers alone: two judges, people beside them, equal replies, changed rows."""

import hashlib
import json
from pathlib import Path

import pytest
from bench.scripted_judge import honest
from judging import reply
from mindtune.cli import UserError
from mindtune.evaluate.judge_plan import Replies, chosen_ids, plan
from mindtune.evaluate.judge_spec import families, kinship, take_key
from mindtune.evaluate.judged_facts import (
    agreement_note,
    between_judges,
    corrected_rates,
    note,
    read_people,
)
from mindtune.evaluate.judged_scores import counts, score
from mindtune.evaluate.rubrics import read_rubric

ROOT = Path(__file__).resolve().parents[3]
EMPATHY = read_rubric(ROOT / "config/rubrics/empathy.yaml", ROOT)


def replies(run, model, count):
    rows = {}
    for number in range(count):
        row = reply(number, model)
        rows[row["id"]] = row | {"lang": "zh" if number % 4 else "en"}
    return Replies("d", run, "dialogue", rows)


def answers(judges, count=60, same=False):
    """Rows of an answers file by judges {name: what becomes of an honest answer}."""
    found = [replies("", "base", count), replies("main", "base" if same else "tuned", count)]
    for name, change in judges.items():
        for ask in plan([EMPATHY], found, None, True):
            row = {"judge": name, "model": f"{name}-model", **ask.about}
            if ask.messages is None:
                yield row | {"messages": None, "sha256": None, "answer": None}
                continue
            raw = json.dumps(change(honest(json.loads(ask.messages[-1]["content"]))))
            answer = {"raw": raw, "failure": "", "read": 1, "written": 1, "at": "2026-11-28"}
            answer["raw_sha256"] = hashlib.sha256(raw.encode()).hexdigest()
            yield row | {"messages": ask.messages, "sha256": ask.key, "answer": answer}


def scored(rows):
    return score(rows, EMPATHY, "main", "d", "answers.jsonl")


def stubborn(answer):
    """A judge that finds every feeling named."""
    return answer | {"answers": answer["answers"] | {"q1": True}} if "answers" in answer else answer


def test_two_judges_are_averaged_and_their_agreement_is_told():
    found = scored(answers({"a": dict, "b": stubborn}))
    values = {(row["model"], row["id"], row["metric"]): row["value"] for row in found.reply_items()}
    named = [value for (_, _, metric), value in values.items() if metric == "names_feeling"]
    assert set(named) == {0.5, 1.0}
    assert ("base", "d0#0", "passed@judge a") in values
    between = between_judges(found)
    assert between["accepts_feeling"]["raw"]["value"] == 1
    assert between["names_feeling"]["raw"]["value"] < 0.8
    assert between["names_feeling"]["ac2"]["low"] < between["names_feeling"]["ac2"]["value"]
    said = note(found, EMPATHY.note, {"judges": {}})
    assert "Judged by a (a-model), b (b-model) on 2026-11-28: 60 replies a model, 2 raters" in said
    assert "Agreement of the judges: names_feeling raw 0." in agreement_note(between, [])


def test_people_correct_a_judge_that_errs():
    """People answer as the honest judge does; the other finds half of what is missing."""

    def kind(answer):
        if "answers" in answer and int(answer["id"], 16) % 2:
            return stubborn(answer)
        return answer

    truth = scored(answers({"a": dict}, count=240))
    people = {key: said["a"] for key, said in truth.answers.items() if key[2] == "names_feeling"}
    known = {key: value for key, value in people.items() if int(key[1][1:].split("#")[0]) < 50}
    rows = corrected_rates(scored(answers({"a": kind}, count=240)), known)
    mine = {row["model"]: row for row in rows if row["behaviour"] == "names_feeling"}
    for model, row in mine.items():
        wanted = [value for key, value in people.items() if key[0] == model]
        wanted = sum(wanted) / len(wanted)
        assert row["judged"] > wanted + 0.1
        assert abs(row["corrected"] - wanted) < 0.1 and row["low"] < wanted < row["high"]
    others = [row for row in rows if row["behaviour"] != "names_feeling"]
    assert others and all(row["corrected"] is None for row in others)
    assert "Corrected for the judge's error" in agreement_note({}, rows)


def test_equal_replies_are_not_asked_about_and_nobody_is_preferred():
    found = scored(answers({"a": dict}, same=True))
    values = {row["value"] for row in found.pair_items() if row["metric"] == "preferred"}
    assert values == {0.5}
    assert counts(found)["pairs"] == {"asked": 120, "judged": 120, "failed": 0}


def test_preferences_of_base_and_tuned_add_up():
    found = scored(answers({"a": dict}))
    sums = {}
    for row in found.pair_items():
        if row["metric"] == "preferred":
            sums[row["id"]] = sums.get(row["id"], 0) + row["value"]
    assert set(sums.values()) == {1.0} and len(sums) == 60
    assert found.flips()["a"]["compared"] == 60


@pytest.mark.parametrize(("part", "words"), [("messages", "request"), ("answer", "raw answer")])
def test_a_row_that_was_changed_is_named(part, words):
    rows = list(answers({"a": dict}, count=3))
    if part == "messages":
        rows[1]["messages"][0]["content"] += "!"
    else:
        rows[1]["answer"]["raw"] += " "
    with pytest.raises(UserError, match=f"the {words} of .* was changed after it was judged"):
        scored(rows)


def test_items_are_chosen_by_their_ids_alone():
    rows = replies("", "base", 60).rows
    backwards = dict(reversed(rows.items()))
    assert set(chosen_ids([rows], 10)) == set(chosen_ids([backwards], 10))
    assert len(chosen_ids([rows], 10)) == 10 and chosen_ids([rows], None) == list(rows)


@pytest.mark.parametrize(
    "row", [{"question": "empathy.x", "id": "1", "model": "base"}, {}, {"passes": 1}]
)
def test_people_s_answers_are_checked(row):
    with pytest.raises(UserError, match="people.jsonl line 1: expected question"):
        read_people([row], "empathy", "main", "people.jsonl")


def test_people_s_answers_about_another_run_are_left_out():
    row = {"question": "empathy.x", "id": "1", "model": "tuned", "passes": True}
    rows = [row, row | {"id": "2", "run": "main"}, row | {"id": "3", "run": "seed43"}]
    found = read_people(rows, "empathy", "main", "people.jsonl")
    assert found == {("tuned", "1", "x"): 1.0, ("tuned", "2", "x"): 1.0}


def test_kinship_goes_by_names():
    spec = {"model": "DeepSeek-R1-Distill-Qwen-7B", "family": None, "path": None}
    assert "(qwen)" in kinship("a", spec, families("Qwen/Qwen2.5-7B-Instruct", "qwen2"))
    assert not kinship("a", spec | {"model": "gpt-5"}, families("tiny", "qwen2"))
    assert kinship("a", spec | {"model": "x", "family": "qwen"}, {"qwen"})


def test_a_key_leaves_the_environment():
    environ = {"MINDTUNE_JUDGE_KEY_MY_ONE": "sk-1", "PATH": "/bin"}
    spec = {"key_file": None, "base_url": "https://h/v1"}
    assert take_key("my-one", spec, environ) == "sk-1" and environ == {"PATH": "/bin"}
