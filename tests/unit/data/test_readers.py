"""Readers: which rows a file has, what form they are in, and what a damaged file gets."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data.forms import FORMS, detect_form, read_turns
from mindtune.data.readers import compact, data_files, parse, raw_rows

DIALOGUE = [
    ("human", "我最近总是失眠。"),
    ("gpt", "失眠多久了？"),
    ("human", "两个星期。"),
    ("gpt", "我们一起看看原因。"),
]
SYSTEM = ("system", "你是一位心理咨询师。")

ROWS = {
    "sharegpt": {"conversations": [{"from": role, "value": text} for role, text in [SYSTEM, *DIALOGUE]]},
    "messages": {
        "messages": [{"role": {"human": "user", "gpt": "assistant"}[role], "content": text} for role, text in DIALOGUE],
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
        "query": DIALOGUE[2][1], "response": DIALOGUE[3][1], "system": SYSTEM[1], "history": [[DIALOGUE[0][1], DIALOGUE[1][1]]],
    },
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
])  # fmt: skip
def test_half_a_turn_is_no_dialogue(broken):
    form = detect_form(broken)
    assert form is None or read_turns(broken, form) is None


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
    for row in (value, {"conversations": value}, {"messages": value}, {"conversation": [value]}, {"instruction": value, "output": value},
                {"query": value, "response": value, "history": value}, {"text": value}):  # fmt: skip
        form = detect_form(row)
        if form:
            turns = read_turns(row, form)
            assert turns is None or all(isinstance(part, str) for turn in turns for part in turn)


def test_forms_are_all_tested():
    assert set(FORMS) == {*ROWS, "prefixed_text"}
