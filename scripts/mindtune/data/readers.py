"""Raw dialogue files read row by row: which files, and where each row starts.

A row travels as the JSON bytes it had in its file, so that what is rejected can be written down
unchanged. JSON lists and lines are cut by their brackets from a memory map: memory does not grow
with the file.
"""

import csv
import gzip
import io
import json
import mmap
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mindtune.cli import UserError
from mindtune.data.forms import LIST_KEYS, PREFIXED
from mindtune.records import BLOCK, list_files

# Files that stand beside the data in a hub snapshot or in a folder saved by `datasets`, and hold
# no dialogues.
METADATA = frozenset({
    "config.json", "configuration.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json",
})  # fmt: skip
SUFFIXES = (".json", ".jsonl", ".parquet", ".arrow", ".csv", ".txt")
PACKED = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it stands in its file.

    `number` counts from 1, `byte` is where it starts (None where rows have no offset).
    """

    number: int
    byte: int | None
    data: bytes


def where(file: str, number: int, byte: int | None) -> str:
    """How an error names a row."""
    return f"{file} row {number}" + ("" if byte is None else f" (byte {byte})")


# ---------------------------------------------------------------------------------------------------------------- files


def kind_of(name: str) -> str | None:
    """The suffix that says how a file is read (.json, .parquet ...), a compression suffix left out.

    None for other files.
    """
    path = Path(name)
    if path.name in METADATA or any(part.startswith(".") for part in path.parts):
        return None
    if path.suffix.lower() in PACKED:
        path = path.with_suffix("")
    # README.txt and LICENSE.txt are no dialogues, though plain text can hold some.
    if path.stem.upper().startswith(("README", "LICENSE", "LICENCE")):
        return None
    return path.suffix.lower() if path.suffix.lower() in SUFFIXES else None


def data_files(raw: str | Path) -> tuple[list[str], list[str]]:
    """Relative paths of the data files below a folder and of the files that are none, both
    sorted.
    """
    if not Path(raw).is_dir():
        raise UserError(f"{raw} is not a folder; give the folder that fetch_dataset.py wrote")
    names = list_files(raw)
    for name in names:
        if not name.isprintable():
            raise UserError(
                f"{raw} holds a file named {name!r}, which is not printable UTF-8; rename it"
            )
    chosen = [name for name in names if kind_of(name)]
    if not chosen:
        raise UserError(
            f"{raw} holds no data file: found {', '.join(names) or 'nothing'}, expected "
            f"{', '.join(SUFFIXES)}, "
            "plain or packed as .gz or .zst"
        )
    return chosen, [name for name in names if name not in chosen]


@contextmanager
def _mapped(path: Path, name: str) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file, unpacked first into a temporary file when its name says so; an empty
    file gives b"".
    """
    with path.open("rb") as stream:
        if path.suffix.lower() not in PACKED:
            yield from _map(stream)
            return
        with tempfile.TemporaryFile() as unpacked:
            try:
                for block in _blocks(stream, path.suffix.lower()):
                    unpacked.write(block)
            except (OSError, EOFError) as error:
                raise UserError(
                    f"{name} is not a whole {path.suffix[1:]} file ({error}); fetch it again"
                ) from error
            unpacked.flush()
            yield from _map(unpacked)


def _blocks(stream: io.BufferedReader, suffix: str) -> Iterator[bytes]:
    """Unpacked blocks of a gzip or Zstandard stream; EOFError when it ends in the middle of a
    frame.
    """
    if suffix == ".gz":
        with gzip.open(stream) as source:
            while block := source.read(BLOCK):
                yield block
        return
    import zstandard

    try:
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        while packed := stream.read(BLOCK):
            while packed:
                yield unpacker.decompress(packed)
                packed = unpacker.unused_data
                if unpacker.eof:  # a file may hold several frames one after the other
                    unpacker = zstandard.ZstdDecompressor().decompressobj() if packed else unpacker
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from error
    if not unpacker.eof:
        raise EOFError("it ends in the middle of a frame")


def _map(stream: Any) -> Iterator[mmap.mmap | bytes]:
    stream.seek(0, io.SEEK_END)
    if stream.tell() == 0:
        yield b""
        return
    # Not closed by hand: a match object of an interrupted reader may still point into the map.
    yield mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


# ----------------------------------------------------------------------------------------------------------------- rows


def raw_rows(raw: str | Path, name: str) -> Iterator[RawRow]:
    """The rows of one data file, in file order. A file that is damaged or cut off is a UserError
    with row and byte.
    """
    path, kind = Path(raw) / name, kind_of(name)
    if kind in (".parquet", ".arrow"):
        yield from _table_rows(path, name, kind)
        return
    with _mapped(path, name) as content:
        if kind == ".csv":
            yield from _csv_rows(content, name)
        elif kind == ".txt":
            yield from _text_rows(content, name)
        else:
            yield from _json_rows(content, name)


_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]\[{}\"]++")
BOM = b"\xef\xbb\xbf"


def _json_rows(content: mmap.mmap | bytes, name: str) -> Iterator[RawRow]:
    """One JSON list, one JSON value a line, or values over several lines; told by the content, not
    by the suffix.
    """
    start = 3 if content[:3] == BOM else 0
    start = _SPACE.match(content, start).end()
    first = content[start : start + 1]
    if first == b"[" and not _is_dialogue(content, start):
        yield from _list_rows(content, start, name)
    elif (
        first in (b"{", b"[")
        and (end := _value_end(content, start))
        and b"\n" in content[start:end]
    ):
        yield from _value_rows(content, start, name)
    else:
        yield from _line_rows(content, start, name)


def _is_dialogue(content: mmap.mmap | bytes, start: int) -> bool:
    """True for a list of strings with speaker labels: such a list is one row, and not a list of
    rows.
    """
    match = _STRING.match(content, _SPACE.match(content, start + 1).end())
    return (
        bool(match) and PREFIXED.match(match[0].decode("utf-8", "replace")[1:].lstrip()) is not None
    )


def _value_rows(content: mmap.mmap | bytes, start: int, name: str) -> Iterator[RawRow]:
    number = 0
    while start < len(content):
        number += 1
        end = _value_end(content, start)
        if end is None:
            raise UserError(
                f"{where(name, number, start)} does not end: the file is cut off or is not JSON "
                f"there; fetch it again"
            )
        yield RawRow(number, start, content[start:end])
        start = _SPACE.match(content, end).end()


def _line_rows(content: mmap.mmap | bytes, start: int, name: str) -> Iterator[RawRow]:
    number, size = 0, len(content)
    while start < size:
        end = content.find(b"\n", start)
        end = size if end < 0 else end
        data = content[start:end].strip()
        if data:
            number += 1
            yield RawRow(number, start, data)
        start = end + 1


def _list_rows(content: mmap.mmap | bytes, start: int, name: str) -> Iterator[RawRow]:
    position, number = _SPACE.match(content, start + 1).end(), 0
    if content[position : position + 1] == b"]":
        _expect_end(content, position + 1, name)
        return
    while True:
        number += 1
        end = _value_end(content, position)
        if end is None:
            raise UserError(
                f"{where(name, number, position)} does not end: the file is cut off or is not JSON "
                f"there; fetch it again"
            )
        yield RawRow(number, position, content[position:end])
        position = _SPACE.match(content, end).end()
        mark = content[position : position + 1]
        if mark == b"]":
            _expect_end(content, position + 1, name)
            return
        if mark != b",":
            found = repr(mark.decode("latin-1")) if mark else "the end of the file"
            raise UserError(
                f"{name} byte {position}, after row {number}: found {found}, expected ',' or ']'; "
                "the file is cut off or damaged: fetch it again"
            )
        position = _SPACE.match(content, position + 1).end()


def _expect_end(content: mmap.mmap | bytes, position: int, name: str) -> None:
    position = _SPACE.match(content, position).end()
    if position < len(content):
        raise UserError(
            f"{name} byte {position}: found more after the end of the JSON list; split the file in "
            f"two"
        )


def _value_end(content: mmap.mmap | bytes, start: int) -> int | None:
    """Where the JSON value that starts here ends, told by strings and brackets alone.

    None if the content ends first.
    """
    first = content[start : start + 1]
    if first == b'"':
        match = _STRING.match(content, start)
        return match.end() if match else None
    if first not in (b"{", b"["):
        match = _SCALAR.match(content, start)
        return match.end() if match else None
    depth = 0
    for match in _BRACKETS.finditer(content, start):
        mark = content[match.start()]
        if match.end() - match.start() > 1:
            continue
        if mark == 0x22:  # a quotation mark that opens a string without end
            return None
        depth += 1 if mark in b"{[" else -1
        if depth == 0:
            return match.end()
    return None


def _table_rows(path: Path, name: str, kind: str) -> Iterator[RawRow]:
    import pyarrow

    number = 0
    try:
        for batch in _batches(path, kind):
            for row in batch.to_pylist():
                number += 1
                yield RawRow(
                    number, None, orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS)
                )
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{name} after row {number}: not a whole {kind[1:]} file ({reason}); fetch it again"
        ) from error


def _batches(path: Path, kind: str) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    if kind == ".parquet":
        with pyarrow.parquet.ParquetFile(path) as table:
            yield from table.iter_batches(batch_size=1024)
        return
    with pyarrow.memory_map(str(path)) as source:
        try:
            reader = pyarrow.ipc.open_stream(source)  # what `datasets` saves
        except pyarrow.ArrowInvalid:
            source.seek(0)
            file = pyarrow.ipc.open_file(source)
            reader = (file.get_batch(index) for index in range(file.num_record_batches))
        yield from reader


def _csv_rows(content: mmap.mmap | bytes, name: str) -> Iterator[RawRow]:
    try:
        text = content[:].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} byte {error.start}: not UTF-8 ({error.reason}); save the file as UTF-8"
        ) from error
    csv.field_size_limit(max(len(text), 1 << 17))
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for number, row in enumerate(rows, 1):
            if None in row or None in row.values():
                raise UserError(
                    f"{name} row {number} (line {rows.line_num}): found more or fewer fields than "
                    f"the header's "
                    f"{len(rows.fieldnames or [])}; quote fields that hold commas or line ends"
                )
            yield RawRow(
                number, None, orjson.dumps({key: _cell(key, value) for key, value in row.items()})
            )
    except csv.Error as error:
        raise UserError(
            f"{name} line {rows.line_num}: not CSV ({error}); fetch the file again"
        ) from error


def _cell(key: str, value: str) -> Any:
    """A cell's text; lists of turns and histories stand in CSV as JSON text."""
    if key in (*LIST_KEYS, "history") and value.lstrip().startswith("["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _text_rows(content: mmap.mmap | bytes, name: str) -> Iterator[RawRow]:
    """A text file is one dialogue."""
    try:
        text = content[:].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} byte {error.start}: not UTF-8 ({error.reason}); save the file as UTF-8"
        ) from error
    if text.strip():
        yield RawRow(1, 0, orjson.dumps({"text": text}))


def parse(row: RawRow, file: str) -> Any:
    """The row's JSON value. Not JSON, or nested too deep to read, is a UserError with row and
    byte.
    """
    try:
        return orjson.loads(row.data)
    except orjson.JSONDecodeError as fault:
        error = fault
    try:  # lone surrogates (\ud83d without its second half) are real dirt, which orjson refuses
        return json.loads(row.data, parse_constant=_refuse)
    except UnicodeDecodeError as fault:
        offset = None if row.byte is None else row.byte + fault.start
        raise UserError(
            f"{where(file, row.number, offset)} is not UTF-8 ({fault.reason}); save the file as "
            f"UTF-8"
        ) from fault
    except (ValueError, RecursionError):
        offset = (
            None
            if row.byte is None
            else row.byte + len(error.doc[: error.pos].encode("utf-8", "replace"))
        )
        raise UserError(
            f"{where(file, row.number, offset)} is not JSON ({error.msg}); the file is cut off or "
            f"damaged: fetch it again"
        ) from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def compact(data: bytes) -> bytes:
    """A row's JSON on one line, its escapes as they were."""
    if b"\n" not in data and b"\r" not in data:
        return data.strip()
    try:
        return orjson.dumps(orjson.loads(data))
    except orjson.JSONDecodeError:
        return json.dumps(json.loads(data)).encode()
