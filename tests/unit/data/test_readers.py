"""Readers: which rows a file has, what form they are in, and what a damaged file gets."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data.fields import mapped
from mindtune.data.form_keys import is_turn
from mindtune.data.form_shapes import SHAPES, nearest_form
from mindtune.data.forms import FORMS, detect_form, read_turns
from mindtune.data.readers import compact, data_files, parse, raw_rows
from mindtune.data.unpacking import ALWAYS_ALLOWED
from mindtune.field_names import check_fields

DIALOGUE = [
    ("human", "我最近总是失眠。"),
    ("gpt", "失眠多久了？"),
    ("human", "两个星期。"),
    ("gpt", "我们一起看看原因。"),
]
SYSTEM = ("system", "你是一位心理咨询师。")

ROWS = {
    "sharegpt": {"conversations": [{"from": role, "value": text} for role, text in [SYSTEM,
    *DIALOGUE]]},
    "messages": {
        "messages": [{"role": {"human": "user", "gpt": "assistant"}[role],
        "content": text} for role, text in DIALOGUE],
        "system": SYSTEM[1],
    },
    "pairs": {
        "conversation": [
            {"system": SYSTEM[1], "input": DIALOGUE[0][1], "output": DIALOGUE[1][1]},
            {"input": DIALOGUE[2][1], "output": DIALOGUE[3][1]},
        ]
    },
    "alpaca": {
        "instruction": DIALOGUE[2][1], "input": "", "output": DIALOGUE[3][1], "system": SYSTEM[1],
        "history": [[DIALOGUE[0][1], DIALOGUE[1][1]]],
    },
    "query_response": {
        "query": DIALOGUE[2][1], "response": DIALOGUE[3][1], "system": SYSTEM[1],
        "history": [[DIALOGUE[0][1], DIALOGUE[1][1]]],
    },
    "question_answer": {
        "Question": DIALOGUE[2][1], "Answer": DIALOGUE[3][1], "system": SYSTEM[1],
        "history": [{"role": role, "content": text} for role, text in (("user", DIALOGUE[0][1]),
        ("assistant", DIALOGUE[1][1]))],
    },
    "preference": {
        "conversations": [{"from": role, "value": text} for role, text in [SYSTEM, *DIALOGUE[:3]]],
        "chosen": {"from": "gpt", "value": DIALOGUE[3][1]}, "rejected": {"from": "gpt",
        "value": "别想太多。"},
    },
    "speaker_text": {
        "dialog": [{"speaker": role, "annotation": {}, "content": text} for role, text in DIALOGUE],
        "situation": "失眠", "system": SYSTEM[1],
    },
    "alternating": {"messages": [{"message": text, "attrs": []} for _, text in DIALOGUE],
    "system": SYSTEM[1]},
}  # fmt: skip


def read(folder, name):
    return [parse(row, name) for row in raw_rows(folder, name)]


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


def test_one_dialogue_a_file_and_a_list_inside_an_object(tmp_path):
    turns = [{"role": "user", "content": "早"}, {"role": "assistant", "content": "好"}]
    (tmp_path / "one.json").write_text(json.dumps(turns, indent=1))
    assert read(tmp_path, "one.json") == [turns]
    rows = [{"messages": turns}, {"messages": turns}]
    for head in ({}, {"version": "1.0", "about": {"n": [1]}}):
        (tmp_path / "in.json").write_text(json.dumps(head | {"data": rows} | {"end": [1, "]"]}))
        assert read(tmp_path, "in.json") == rows
    (tmp_path / "in.json").write_text(json.dumps({"data": rows})[:-1])
    with pytest.raises(UserError, match="does not end"):
        read(tmp_path, "in.json")
    (tmp_path / "row.json").write_text(json.dumps({"conversations": turns}, indent=1))
    assert read(tmp_path, "row.json") == [{"conversations": turns}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv"])
def test_what_a_file_is_its_bytes_say(tmp_path, name):
    """gzip without its suffix, a suffix without gzip, and UTF-16."""
    text = json.dumps(ROWS["sharegpt"], ensure_ascii=False)
    if name == "a.csv":
        text = "question,answer\n早,好\n"
    for content in (text.encode(), gzip.compress(text.encode()), text.encode("utf-16"),
                    zstandard.ZstdCompressor().compress(text.encode())):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        [row] = read(tmp_path, name)
        assert row == (ROWS["sharegpt"] if name != "a.csv" else {"question": "早", "answer": "好"})


@pytest.mark.parametrize(("head", "said"), [
    (b"PK\x03\x04", "a zip archive or an Excel "
"file"), (b"PAR1", "a Parquet file"), (b"%PDF-1.7", "a PDF"),
])  # fmt: skip
def test_what_cannot_be_read_is_named_for_what_it_is(tmp_path, head, said):
    (tmp_path / "a.jsonl").write_bytes(head + bytes(99))
    with pytest.raises(UserError, match=rf"a\.jsonl is {said}"):
        read(tmp_path, "a.jsonl")


def test_bombs_are_refused(tmp_path):
    """Small files that become far more than dialogues can."""
    size = ALWAYS_ALLOWED + (1 << 20)
    row = b'{"text":"' + b"a" * size + b'"}'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(row, 9))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(row))
    table = pyarrow.table({"text": pyarrow.array(["a" * 3_000_000] * 100)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", compression="zstd")
    for name in ("a.jsonl.gz", "a.jsonl.zst", "a.parquet"):
        assert (tmp_path / name).stat().st_size < 100_000
        with pytest.raises(UserError, match=rf"{name} has .* bytes and unpacks to more than"):
            for _ in raw_rows(tmp_path, name):
                pass


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_a_row_beyond_any_dialogue_is_one_sentence(tmp_path, name):
    """The file is sparse: 256 MB that are not on the disk, and must not be in memory."""
    head = {"a.json": b'[{"text": "', "a.csv": b'question,answer\n"'}.get(name, b'{"text": "')
    with open(tmp_path / name, "wb") as stream:
        stream.write(head)
        stream.truncate(1 << 28)
        stream.seek(0, 2)
        stream.write(b'"}]' if name == "a.json" else b'"}')
    with pytest.raises(UserError, match="no dialogue is longer"):
        read(tmp_path, name)


def test_no_turns_at_all_is_any_form():
    assert detect_form({"conversations": []}) == ""
    assert detect_form({"text": "没有说话人"}) is None
    assert detect_form("一句话") is None


def write_all(folder, rows):
    """The same rows as every kind of file."""
    text = json.dumps(rows, ensure_ascii=False, indent=2)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "list.json").write_text(text)
    (folder / "lines.json").write_text(lines)
    (folder / "lines.jsonl").write_text("\ufeff" + lines.rstrip("\n").replace("\n", "\r\n"))
    (folder / "values.json").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False, indent=1) for row in rows)
    )
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    packer = zstandard.ZstdCompressor()
    half = len(lines.encode()) // 2
    frames = packer.compress(lines.encode()[:half]) + packer.compress(lines.encode()[half:])
    (folder / "packed.jsonl.zst").write_bytes(frames)
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, folder / "table.parquet", row_group_size=1)
    with (
        pyarrow.OSFile(str(folder / "saved.arrow"), "wb") as sink,
        pyarrow.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    (folder / "README.md").write_text("说明")
    (folder / "dataset_info.json").write_text("{}")


def test_every_kind_of_file_gives_the_same_rows(tmp_path):
    rows = [
        {"id": f"对话{number}", "conversations": ROWS["sharegpt"]["conversations"]}
        for number in range(3)
    ]
    write_all(tmp_path, rows)
    files, skipped = data_files(tmp_path)
    assert skipped == ["README.md", "dataset_info.json"]
    assert len(files) == 8
    for name in files:
        assert read(tmp_path, name) == rows, name


def test_csv_and_plain_text(tmp_path):
    (tmp_path / "a.csv").write_text(
        'instruction,output\n"我很累，\n睡不着","先休息, 再谈"\n', encoding="utf-8-sig"
    )
    (tmp_path / "b.txt").write_bytes("来访者：老师好。\r\n\r\n心理咨询师：你好。\r\n".encode())
    [row] = read(tmp_path, "a.csv")
    assert read_turns(row, detect_form(row)) == [
        ("human", "我很累，\n睡不着"),
        ("gpt", "先休息, 再谈"),
    ]
    [row] = read(tmp_path, "b.txt")
    assert read_turns(row, detect_form(row)) == [("来访者", "老师好。"), ("心理咨询师", "你好。")]


def test_row_offsets_point_at_the_row(tmp_path):
    rows = [
        {"conversations": [{"from": "human", "value": f'引号"和[括号]{{{number}}}'}]}
        for number in range(4)
    ]
    for name, text in (
        ("a.json", json.dumps(rows, ensure_ascii=False, indent=2)),
        ("b.jsonl", "\n\n".join(map(json.dumps, rows))),
    ):
        (tmp_path / name).write_text(text)
        content = (tmp_path / name).read_bytes()
        found = list(raw_rows(tmp_path, name))
        assert [row.number for row in found] == [1, 2, 3, 4]
        assert all(content[row.byte : row.byte + len(row.data)] == row.data for row in found)


@pytest.mark.parametrize(
    "name", ["a.json", "a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.csv"]
)
def test_a_file_that_is_cut_off_is_refused(tmp_path, name):
    rows = [{"conversations": [{"from": "human", "value": "我很难过，" * 30}]} for _ in range(5)]
    write_all(tmp_path, rows)
    source = {
        "a.json": "list.json",
        "a.jsonl": "lines.jsonl",
        "a.jsonl.gz": "packed.jsonl.gz",
        "a.jsonl.zst": "packed.jsonl.zst",
    }
    if name == "a.csv":
        (tmp_path / name).write_text('instruction,output\n"你好","请坐"\n"我很累')
    else:
        content = (tmp_path / source.get(name, "table.parquet")).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) - 60])
    with pytest.raises(UserError) as error:
        read(tmp_path, name)
    assert name in str(error.value)
    assert name.endswith((".gz", ".zst")) or "row" in str(error.value) or "line" in str(error.value)


def test_the_error_of_a_torn_line_names_row_and_byte(tmp_path):
    good = json.dumps(ROWS["sharegpt"], ensure_ascii=False)
    (tmp_path / "a.jsonl").write_text(good + "\n" + good[:50])
    with pytest.raises(
        UserError,
        match=rf"a\.jsonl row 2 \(byte {len(good.encode()) + 1 + len(good[:50].encode())}\)",
    ):
        read(tmp_path, "a.jsonl")


def test_lone_surrogates_are_read_and_written_back_as_they_were(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"conversations": [{"from": "human", "value": "好\\ud83d"}]}\n'
    )
    [row] = raw_rows(tmp_path, "a.jsonl")
    assert parse(row, "a.jsonl")["conversations"][0]["value"] == "好\ud83d"
    assert b"\\ud83d" in compact(row.data)


def test_a_folder_without_data_is_refused(tmp_path):
    (tmp_path / "LICENSE.txt").write_text("MIT")
    with pytest.raises(UserError, match="holds no data file"):
        data_files(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["from", "value"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON, max_size=6), st.sampled_from([None, 0, 3]))
def test_a_list_is_cut_where_json_cuts_it(tmp_path_factory, values, indent):
    assume(not values or not is_turn(values[0]))  # then it is one dialogue
    folder = tmp_path_factory.mktemp("list")
    (folder / "a.json").write_text(json.dumps(values, ensure_ascii=True, indent=indent))
    assert [json.loads(row.data) for row in raw_rows(folder, "a.json")] == values


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300) | st.text(alphabet='{}[]",:\\ \n你好a0', max_size=200).map(str.encode),
    st.sampled_from(
        ["a.json", "a.jsonl", "a.csv", "a.txt", "a.parquet", "a.jsonl.gz", "a.jsonl.zst", "a.arrow"]
    ),
)
def test_any_bytes_give_rows_or_one_sentence(tmp_path_factory, content, name):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / name).write_bytes(content)
    try:
        for value in read(folder, name):
            form = detect_form(value)
            if form:
                read_turns(value, form)
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused_without_a_traceback(value):
    for row in (value, {"conversations": value}, {"messages": value}, {"conversation": [value]},
        {"instruction": value, "output": value},
                {"query": value, "response": value, "history": value},
                    {"text": value}):  # fmt: skip
        form = detect_form(row)
        if form:
            turns = read_turns(row, form)
            assert turns is None or all(isinstance(part, str) for turn in turns for part in turn)


def test_forms_are_all_tested():
    assert set(FORMS) == {*ROWS, "prefixed_text"} == set(SHAPES)
