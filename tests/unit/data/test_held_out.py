"""Held-out texts in the program that splits: what training loses, and what is said of it."""

import json

import pytest
from mindtune.cli import UserError
from mindtune.data.held_out import read_held_out
from test_contamination import QUESTION, REPLY, own
from test_split_program import program, read, row, write


def test_files_of_questions_and_of_dialogues(tmp_path):
    path = tmp_path / "题.jsonl"
    path.write_text(
        json.dumps({"id": "k-1", "question": QUESTION}) + "\n" + json.dumps({"prompt": REPLY})
    )
    assert [(text.name, text.text) for text in read_held_out(path)] == [
        ("题.jsonl:k-1", QUESTION),
        ("题.jsonl:2", REPLY),
    ]
    path.write_text(json.dumps([["求助者：我有点怕。", "支持者：怕什么呢？"]]))
    assert [text.name for text in read_held_out(path)] == ["题.jsonl:1#0", "题.jsonl:1#1"]
    path.write_text('{"answer": "A"}')
    with pytest.raises(UserError, match=r"题.jsonl row 1 .*found no held-out text"):
        list(read_held_out(path))


def contaminated(tmp_path):
    """60 dialogues of which three hold the question, and one the reply of every dialogue of the
    test side.
    """
    rows = [row(number, f"第{number}件事，我想说说", own(number, 80)) for number in range(60)]
    for number in (5, 25, 45):
        rows[number]["conversations"][0]["value"] += own(number + 100, 60) + "：" + QUESTION
    questions = tmp_path / "题.jsonl"
    questions.write_text(json.dumps({"id": "k-1", "question": QUESTION}, ensure_ascii=False))
    return write(tmp_path / "clean.jsonl", rows), questions


def test_training_loses_what_holds_a_question(tmp_path):
    clean, questions = contaminated(tmp_path)
    done = program(tmp_path, clean, held_out=[questions])
    assert done.returncode == 0, done.stderr
    hits, facts = (
        read(tmp_path / "contamination.jsonl"),
        read(tmp_path / "split_dialogues.json")[0]["facts"],
    )
    everywhere = {
        entry["id"] for side in ("dev", "test") for entry in read(tmp_path / f"{side}.jsonl")
    }
    expected = {f"对话-{number}" for number in (5, 25, 45)} - everywhere
    assert {hit["id"] for hit in hits} == expected and expected
    assert all(
        (hit["held_out"], hit["overlap"], hit["turn"]) == ("题.jsonl:k-1", 1.0, 0) for hit in hits
    )
    assert not expected & {entry["id"] for entry in read(tmp_path / "train.jsonl")}
    assert (
        facts["contamination"]["removed"] == len(expected) and facts["contaminated_in_train"] == 0
    )
    assert sum(facts["dialogues"].values()) == 60 - len(expected)


def test_hits_are_listed_and_kept_if_the_settings_say_so(tmp_path):
    clean, questions = contaminated(tmp_path)
    keep = {"ngram_chars": 13, "overlap": 0.5, "similarity": 0.6, "remove": False}
    assert program(tmp_path, clean, held_out=[questions], contamination=keep).returncode == 0
    facts = read(tmp_path / "split_dialogues.json")[0]["facts"]
    assert facts["contaminated_in_train"] == facts["contamination"]["dialogues_hit"] > 0
    assert sum(facts["dialogues"].values()) == 60


def test_replies_of_the_other_sides_are_held_out(tmp_path):
    """Train is left without any turn that holds a reply of the test side, or of the dev side."""
    reply = REPLY + "这几天先记下每晚几点睡、几点醒，下次我们一起看。"
    rows = [
        row(number, f"第{number}件事，我想说说", own(number, 80) + (reply if number % 2 else ""))
        for number in range(40)
    ]
    for entry in rows[::2]:  # a turn that is the reply and little else
        entry["conversations"] += [
            {"from": "human", "value": "好"},
            {"from": "gpt", "value": reply},
        ]
    clean = write(
        tmp_path / "clean.jsonl",
        rows + [row(number, f"第{number}件事", own(number, 90)) for number in range(40, 60)],
    )
    assert program(tmp_path, clean).returncode == 0
    sources = read(tmp_path / "split_dialogues.json")[0]["facts"]["contamination"]
    assert set(sources["held_out_texts"]) == {"dev", "test"}
    train = read(tmp_path / "train.jsonl")
    assert any(
        entry["conversations"][-1]["value"] == reply for entry in read(tmp_path / "test.jsonl")
    )
    assert not any(reply in turn["value"] for entry in train for turn in entry["conversations"])


def test_a_set_that_is_all_held_out_is_refused(tmp_path):
    clean = write(
        tmp_path / "clean.jsonl", [row(n, own(n, 80) + QUESTION, own(n + 50, 80)) for n in range(9)]
    )
    (tmp_path / "题.jsonl").write_text(json.dumps({"question": QUESTION}))
    done = program(tmp_path, clean, held_out=[tmp_path / "题.jsonl"])
    assert (
        done.returncode == 2
        and "every training dialogue" in done.stderr
        and not (tmp_path / "train.jsonl").exists()
    )
