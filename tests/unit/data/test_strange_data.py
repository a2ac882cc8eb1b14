"""Cleaning strangers' files: what is bad costs itself, what is unknown is refused early, what is
not heeded is counted.
"""

import json

from cleaning_runs import GOOD, program, read, sharegpt

FIELDS = {"question": "ask", "answer": "reply"}


def facts_of(folder):
    return json.loads((folder / "clean_dialogues.json").read_text(encoding="utf-8"))["facts"]


def clean(folder, tokenizer, content, name="a.jsonl", **settings):
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    (raw / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return program(raw, folder, tokenizer, **settings)


def test_a_line_that_is_not_json_costs_that_line(tmp_path, tokenizer):
    bad = [b'{"score": NaN}', b"\0" * 9, b'{"a": 1', "是".encode("gbk"), b'"\\x"']
    content = b"\n".join([sharegpt(GOOD).encode(), *bad]) + b"\n"
    done = clean(tmp_path, tokenizer, content)
    assert done.returncode == 0, done.stderr
    facts, rejected = facts_of(tmp_path), read(tmp_path / "rejected.jsonl")
    assert (facts["read"], facts["kept"], facts["rejected_by_reason"]["malformed"]) == (6, 1, 5)
    assert [row["original"] for row in rejected] == [
        '{"score": NaN}', "\0" * 9, '{"a": 1', "\\xca\\xc7", '"\\x"',
    ]  # fmt: skip


def test_a_file_that_ends_in_the_middle_of_a_line_is_refused(tmp_path, tokenizer):
    done = clean(tmp_path, tokenizer, sharegpt(GOOD) + '\n{"conversations": [')
    assert done.returncode == 2 and "a.jsonl row 2" in done.stderr
    assert not (tmp_path / "clean.jsonl").exists()


def test_an_unknown_form_is_refused_after_its_first_rows(tmp_path, tokenizer):
    """The line that would stop a reader of the whole file is never reached."""
    rows = [json.dumps({"ask": f"问{n}", "reply": "答"}) for n in range(9000)]
    done = clean(tmp_path, tokenizer, "\n".join([*rows, "{"]))
    assert done.returncode == 2
    assert "the keys ask, reply, and the nearest form is" in done.stderr
    assert "datasets.NAME.fields" in done.stderr and "row 9001" not in done.stderr


def test_fields_of_the_configuration_are_used(tmp_path, tokenizer):
    rows = [{"ask": GOOD[0][1], "reply": GOOD[1][1]}, {"ask": "早", "reply": None}]
    content = "\n".join(map(json.dumps, rows))
    assert clean(tmp_path, tokenizer, content, fields=FIELDS).returncode == 0
    assert facts_of(tmp_path)["files"]["a.jsonl"]["form"] == "question_answer"
    assert len(read(tmp_path / "clean.jsonl")) == len(read(tmp_path / "rejected.jsonl")) == 1
    done = clean(tmp_path, tokenizer, content, fields={"question": "ask"})
    assert done.returncode == 2 and "fields: found question" in done.stderr


def test_what_is_not_heeded_is_counted_and_said(tmp_path, tokenizer):
    asked = {"role": "user", "content": "我这几天睡不着，怎么办？"}
    answers = [
        {"role": "assistant", "content": "先别急，我们一起看看。", "weight": 0},
        {"role": "assistant", "content": "<think>他累了</think>先休息一下，好吗？", "weight": 1},
        {"role": "assistant", "content": "我看到了这张图。", "tool_calls": []},
    ]
    rows = [{"messages": [asked, answer]} for answer in answers]
    rows[2]["images"] = ["a.png"]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/notes.zip").write_bytes(b"PK")
    done = clean(tmp_path, tokenizer, "\n".join(map(json.dumps, rows)))
    assert done.returncode == 0, done.stderr
    noticed = facts_of(tmp_path)["files"]["a.jsonl"]["noticed"]
    assert noticed == {"weight_0": 1, "think": 1, "images": 1}
    assert "a.jsonl: 1 rows with a turn of weight 0" in done.stdout
    assert "not read, because they are no data files: notes.zip" in done.stdout


def test_the_chosen_reply_is_taken_and_that_is_said(tmp_path, tokenizer):
    row = {"prompt": GOOD[0][1], "chosen": GOOD[1][1], "rejected": "别想太多，睡吧。"}
    done = clean(tmp_path, tokenizer, json.dumps(row))
    assert "the chosen one is taken" in done.stdout
    [kept] = read(tmp_path / "clean.jsonl")
    assert [turn["value"] for turn in kept["conversations"]] == [GOOD[0][1], GOOD[1][1]]
