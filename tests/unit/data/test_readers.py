"""Readers: which rows a file has, what form they are in, and what a damaged file gets."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from mindtune.cli import UserError
from mindtune.data.form_shapes import SHAPES
from mindtune.data.forms import FORMS, detect_form, read_turns
from mindtune.data.readers import data_files, parse, raw_rows

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


def test_forms_are_all_tested():
    assert set(FORMS) == {*ROWS, "prefixed_text"} == set(SHAPES)
