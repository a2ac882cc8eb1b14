"""Every form of a dialogue gives the same turns."""

import json

import pyarrow
import pyarrow.parquet
import pytest
from mindtune.cli import UserError
from mindtune.data.fields import mapped
from mindtune.data.form_shapes import nearest_form
from mindtune.data.forms import detect_form, read_turns
from mindtune.data.readers import parse, raw_rows
from mindtune.field_names import check_fields
from test_readers import DIALOGUE, ROWS, SYSTEM, read


@pytest.mark.parametrize("form", ROWS)
def test_every_form_gives_the_same_turns(form):
    assert detect_form(ROWS[form]) == form
    assert read_turns(ROWS[form], form) == [SYSTEM, *DIALOGUE]


def test_prefixed_text_keeps_narration_and_odd_speakers():
    text = (
        "来访者：老师好。\r\n\r\n心理咨询师：你好，请坐。\r\n\r\n（一段时间后）\r\n\r\n妈妈："
        "孩子不肯说话。\r\n\r\n心理咨询师：不急。"
    )
    expected = [
        ("来访者", "老师好。"),
        ("心理咨询师", "你好，请坐。\n\n（一段时间后）"),
        ("妈妈", "孩子不肯说话。"),
        ("心理咨询师", "不急。"),
    ]
    assert read_turns({"text": text}, "prefixed_text") == expected
    assert detect_form(["求助者：我有点怕。", "支持者：怕什么呢？"]) == "prefixed_text"
    assert read_turns(["求助者：我有点怕。", "支持者：怕什么呢？"], "prefixed_text") == [
        ("求助者", "我有点怕。"),
        ("支持者", "怕什么呢？"),
    ]


def test_every_counsellor_turn_is_there_once_with_its_own_history():
    """A converter of this field trains first replies on later turns; here the order of the source
    is the order of the turns.
    """
    pairs = [{"input": f"问{number}", "output": f"答{number}"} for number in range(5)]
    turns = read_turns({"conversation": pairs}, "pairs")
    assert turns == [
        turn for number in range(5) for turn in (("human", f"问{number}"), ("gpt", f"答{number}"))
    ]


@pytest.mark.parametrize("broken", [
    {"conversations": [{"from": "human"}]},
    {"conversations": [{"from": "human", "value": None}]},
    {"conversations": [{"from": "human", "value": "好"}, "不是一个轮次"]},
    {"conversations": [{"from": 3, "value": "好"}]},
    {"messages": [{"role": "user", "content": ["好"]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
    {"query": "问", "response": "答", "history": ["你好"]},
    {"query": "问", "response": "答", "history": "你好"},
    {"query": "问", "response": "答", "history": [{"time": 1}]},
    {"query": "问", "response": "答", "history": ["早", ["a", "b"]]},
    {"query": "问", "response": ["答"]},
    {"query": "问", "response": "答", "history": {"query": "早", "response": "好啊"}},
    {"conversations": [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}],
        "chosen": "好", "rejected": "坏"},
    {"instruction": {"zh": "问"}, "output": "答"},
    {"prompt": "问", "chosen": None, "rejected": "答"},
])  # fmt: skip
def test_half_a_turn_is_no_dialogue(broken):
    form = detect_form(broken)
    assert form is None or read_turns(broken, form) is None


HISTORY = [("human", "早"), ("gpt", "好啊")]


@pytest.mark.parametrize("history", [
    [["早", "好啊"]],
    [{"query": "早", "response": "好啊"}],
    [{"input": "早", "output": "好啊"}],
    [{"role": "user", "content": "早"}, {"role": "assistant", "content": "好啊"}],
    [{"from": "human", "value": "早"}, {"from": "gpt", "value": "好啊"}],
    ["早", "好啊"],
    ["用户：早", "助手：好啊"],
    "用户：早\n助手：好啊",
])  # fmt: skip
@pytest.mark.parametrize(
    "last",
    [
        {"query": "问", "response": "答"},
        {"instruction": "问", "output": "答"},
        {"Q": "问", "A": "答"},
    ],
)
def test_every_kind_of_history(history, last):
    """A pair of two letters is no pair of turns, and a key is no text."""
    row = last | {"history": history}
    turns = read_turns(row, detect_form(row))
    named = {"用户": "human", "助手": "gpt"}
    assert [(named.get(role, role), text) for role, text in turns] == [
        *HISTORY, ("human", "问"), ("gpt", "答"),
    ]  # fmt: skip


@pytest.mark.parametrize(("row", "turns"), [
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "早"}, {"type": "text",
        "text": "安"}]},
                   {"role": "assistant", "content": "好"}]}, [("human", "早\n安"), ("gpt", "好")]),
    ({"prompt": "早", "completion": "好"}, [("human", "早"), ("gpt", "好")]),
    ({"context": "早", "response": "好", "category": "Offending User", "label": "Safe"}, [("human",
        "早"), ("gpt", "好")]),
    ({"prompt": "早", "chosen": "好", "rejected": "坏"}, [("human", "早"), ("gpt", "好")]),
    ({"chosen": [{"role": "user", "content": "早"}, {"role": "assistant", "content": "好"}],
        "rejected": []},
     [("human", "早"), ("gpt", "好")]),
    ({"prompt": [{"role": "user", "content": "早"}], "chosen": [{"role": "assistant",
        "content": "好"}],
      "rejected": [{"role": "assistant", "content": "坏"}]}, [("human", "早"), ("gpt", "好")]),
    ({"chosen": "\n\nHuman: hi\n\nAssistant: hello", "rejected": "\n\nHuman: hi\n\nAssistant: no"},
     [("Human", "hi"), ("Assistant", "hello")]),
    ({"conversation": [{"human": "早", "assistant": "好"}]}, [("human", "早"), ("gpt", "好")]),
    ({"text": "用户：早。助手：好。用户：嗯，医生怎么说？助手：他没说。"},
     [("用户", "早。"), ("助手", "好。"), ("用户", "嗯，医生怎么说？"), ("助手", "他没说。")]),
    ({"text": "User: I feel low. Assistant: Since when? User: May."},
     [("User", "I feel low."), ("Assistant", "Since when?"), ("User", "May.")]),
    ([{"role": "患者", "content": "早"}, {"role": "医生", "content": "好"}], [("患者", "早"),
        ("医生", "好")]),
])  # fmt: skip
def test_the_forms_of_public_sets(row, turns):
    assert read_turns(row, detect_form(row)) == turns


def test_an_exam_is_no_dialogue():
    """Else its letters would be trained as replies."""
    assert detect_form({"question": "问", "options": {"A": "一"}, "answer": "A"}) is None


def test_an_unknown_row_is_named_with_its_keys_and_the_nearest_form():
    said = nearest_form({"instruction": "问", "input": "", "reply": "答"})
    assert "the keys instruction, input, reply" in said and '"instruction"' in said
    assert '"conversations"' in nearest_form({"conversatons": [{"from": "a", "value": "b"}]})
    assert "a list of str" in nearest_form(["问", "答"])


@pytest.mark.parametrize(("fields", "row"), [
    ({"question": "ask", "answer": "reply.text"}, {"ask": "早", "reply": {"text": "好"}}),
    ({"turns": "log.turns", "speaker": "who", "text": "words"},
     {"log": {"turns": [{"who": "human", "words": "早"}, {"who": "gpt", "words": "好"}]}}),
])  # fmt: skip
def test_fields_say_where_the_parts_are(fields, row):
    check_fields(fields, "fields")
    content = mapped(row, fields)
    assert read_turns(content, detect_form(content)) == [("human", "早"), ("gpt", "好")]
    wrong = mapped({"other": 1}, fields)
    assert read_turns(wrong, detect_form(wrong)) is None


TURN_TABLE = [
    {"transcript_id": 0, "interlocutor": "client", "utterance_id": 0, "utterance_text": "早"},
    {"transcript_id": 0, "interlocutor": "therapist", "utterance_id": 1, "utterance_text": "好"},
    {"transcript_id": 0, "interlocutor": "therapist", "utterance_id": 1, "utterance_text": "好"},
    {"transcript_id": 1, "interlocutor": "client", "utterance_id": 0, "utterance_text": "累"},
    {"transcript_id": 1, "interlocutor": "therapist", "utterance_id": 1, "utterance_text": "嗯"},
]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet"])
def test_turns_that_are_rows_become_dialogues(tmp_path, name):
    """Two people's labels of one utterance are one turn."""
    if name.endswith("sv"):
        mark = "," if name.endswith("csv") else "\t"
        lines = [TURN_TABLE[0].keys(), *(row.values() for row in TURN_TABLE)]
        (tmp_path / name).write_text("\n".join(mark.join(map(str, line)) for line in lines))
    elif name == "t.parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(TURN_TABLE), tmp_path / name)
    elif name == "t.json":
        (tmp_path / name).write_text(json.dumps(TURN_TABLE))
    else:
        (tmp_path / name).write_text("\n".join(map(json.dumps, TURN_TABLE)))
    rows = read(tmp_path, name)
    assert [read_turns(row, detect_form(row)) for row in rows] == [
        [("client", "早"), ("therapist", "好")], [("client", "累"), ("therapist", "嗯")],
    ]  # fmt: skip
    (tmp_path / "mixed.jsonl").write_text("\n".join(map(json.dumps, TURN_TABLE + TURN_TABLE[:1])))
    with pytest.raises(UserError, match="dialogue 0 goes on after another one; sort the rows"):
        read(tmp_path, "mixed.jsonl")


def test_a_mapping_finds_the_turns_that_are_rows(tmp_path):
    fields = {"dialogue": "call", "speaker": "who", "text": "words"}
    rows = [{"call": n // 2, "who": ["human", "gpt"][n % 2], "words": f"话{n}"} for n in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    contents = [mapped(parse(row, "a"), fields) for row in raw_rows(tmp_path, "a.jsonl", fields)]
    assert [read_turns(content, detect_form(content)) for content in contents] == [
        [("human", "话0"), ("gpt", "话1")], [("human", "话2"), ("gpt", "话3")],
    ]  # fmt: skip
