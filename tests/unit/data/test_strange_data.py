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


ASKED = ("我这几天睡不着，怎么办？", "可我还是很难受，心里乱。", "那我试试看，谢谢你听我说。")
REPLIES = (
    "听起来你很累，先坐下来，慢慢说给我听。",
    "作为一个人工智能语言模型，我无法提供心理咨询。",
    "难受的时候，可以先把呼吸放慢一点。",
)


def told(*weights, replies=REPLIES):
    """A dialogue in OpenAI's form whose replies have these weights."""
    turns = []
    for asked, reply, weight in zip(ASKED, replies, weights, strict=True):
        turns.append({"role": "user", "content": asked})
        turns.append({"role": "assistant", "content": reply, **weight})
    return json.dumps({"messages": turns}, ensure_ascii=False)


def not_learned(folder):
    """The replies of the one kept dialogue that are not learned."""
    [row] = read(folder / "clean.jsonl")
    return [turn["value"] for turn in row["conversations"] if turn.get("loss") is False], row


def test_a_turn_of_weight_0_is_context_and_may_be_bad(tmp_path, tokenizer):
    assert clean(tmp_path, tokenizer, told({}, {"weight": 0}, {"weight": 1})).returncode == 0
    bad, row = not_learned(tmp_path)
    assert bad == [REPLIES[1]] and "not_learned" in row["fixes"]
    assert facts_of(tmp_path)["fixes_by_step"]["not_learned"] == 1


def test_a_bad_turn_rejects_its_dialogue_or_is_context(tmp_path, tokenizer):
    for folder, choice in (("reject", "reject"), ("context", "context")):
        (tmp_path / folder).mkdir()
        text = told({}, {}, {})
        assert clean(tmp_path / folder, tokenizer, text, bad_turns=choice).returncode == 0
    assert [row["reasons"] for row in read(tmp_path / "reject/rejected.jsonl")] == [
        ["refusal", "machine_identity"]
    ]
    assert not_learned(tmp_path / "context")[0] == [REPLIES[1]]


def test_a_pattern_of_ones_own_can_leave_a_turn_as_context(tmp_path, tokenizer):
    pattern = {"name": "breath", "find": "呼吸", "do": "context"}
    text = told({}, {}, {}, replies=(REPLIES[0], REPLIES[0] + "好吗？", REPLIES[2]))
    assert clean(tmp_path, tokenizer, text, patterns=[pattern]).returncode == 0
    assert not_learned(tmp_path)[0] == [REPLIES[2]]
    assert facts_of(tmp_path)["patterns"] == {"breath": 1}


def test_a_dialogue_without_a_turn_to_learn_is_rejected(tmp_path, tokenizer):
    zero = {"weight": 0}
    rows = [
        told(zero, zero, zero),
        json.dumps({"query": "在吗，我想说说", "response": "在的，你说", **zero}),
    ]
    for number, row in enumerate(rows):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert clean(folder, tokenizer, row).returncode == 0
        assert [entry["reasons"] for entry in read(folder / "rejected.jsonl")] == [
            ["nothing_to_learn"]
        ]


def test_joined_turns_are_learned_only_if_both_are(tmp_path, tokenizer):
    turns = json.loads(told({}, {}, {}, replies=(REPLIES[0], REPLIES[0], REPLIES[2])))["messages"]
    turns.insert(4, {"role": "assistant", "content": "慢慢来，不用急。", "loss": False})
    assert clean(tmp_path, tokenizer, json.dumps({"messages": turns})).returncode == 0
    assert not_learned(tmp_path)[0] == [REPLIES[0] + "\n慢慢来，不用急。"]


def test_topics_are_counted_among_what_is_kept(tmp_path, tokenizer):
    patterns = [
        {"name": "sleep", "find": "睡不着|失眠", "do": "count", "in": "client"},
        {"name": "work", "find": "工作", "do": "count", "in": "client"},
        {"name": "ad", "find": "加群", "do": "reject"},
    ]
    other = sharegpt([("human", "女儿不肯跟我说话。"), ("gpt", "工作之外，你们多久聊一次？")])
    advert = sharegpt([("human", "我失眠，听说加群有用？"), ("gpt", "我们先说说你的睡眠。")])
    text = "\n".join([sharegpt(list(zip(("human", "gpt"), (ASKED[0], REPLIES[0]), strict=True))),
                      other, advert])  # fmt: skip
    assert clean(tmp_path, tokenizer, text, patterns=patterns).returncode == 0
    facts = facts_of(tmp_path)
    assert facts["kept"] == 2 and facts["patterns"] == {"ad": 1}
    assert facts["topics"] == {"sleep": 1, "work": 0, "of none": 1}
