"""Files that are torn, packed too far, or no data: rows, or one sentence."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data.form_keys import is_turn
from mindtune.data.forms import detect_form, read_turns
from mindtune.data.readers import compact, data_files, parse, raw_rows
from mindtune.data.unpacking import ALWAYS_ALLOWED
from test_readers import ROWS, read, write_all


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
