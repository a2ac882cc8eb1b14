"""Rows of tables: CSV, tab-separated values, Parquet and Arrow."""

import csv
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from mindtune.cli import UserError
from mindtune.data.form_keys import LIST_KEYS
from mindtune.data.raw_row import MOST_ROW_BYTES, RawRow, check_size
from mindtune.data.unpacking import allowed, too_large

BATCH_ROWS = 64  # unpacked at a time: a value that a file holds once may stand in every row
SEPARATORS = {".csv": ",", ".tsv": "\t"}


def csv_rows(content: mmap.mmap | bytes, name: str, kind: str) -> Iterator[RawRow]:
    """One row a record; the first line names the columns."""
    csv.field_size_limit(MOST_ROW_BYTES)
    rows = csv.DictReader(
        _text_lines(content, name), strict=True, delimiter=SEPARATORS[kind], restkey=None
    )
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


def _text_lines(content: mmap.mmap | bytes, name: str) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, none of them longer than a row may be."""
    start = 3 if content[:3] == b"\xef\xbb\xbf" else 0
    number = 0
    while start < len(content):
        end = content.find(b"\n", start, start + MOST_ROW_BYTES + 1)
        end = len(content) if end < 0 else end + 1
        number += 1
        check_size(end - start, name, number, start)
        yield decoded(content[start:end], name, start)
        start = end


def decoded(data: bytes, name: str, start: int) -> str:
    """Bytes of a file from a place on, as text."""
    try:
        return data.decode("utf-8-sig" if start == 0 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} byte {start + error.start}: not UTF-8 ({error.reason}); save the file as UTF-8"
        ) from error


def _cell(key: str, value: str) -> Any:
    """A cell's text; lists of turns and histories stand in CSV as JSON text."""
    if key in (*LIST_KEYS, "history") and value.lstrip().startswith("["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def table_rows(path: Path, name: str, kind: str) -> Iterator[RawRow]:
    """The rows of a Parquet or Arrow file. What becomes far more than the file has is refused."""
    import pyarrow

    number, size, packed = 0, 0, path.stat().st_size
    try:
        for batch in _batches(path, name, kind):
            size += batch.nbytes
            if size > allowed(packed):
                raise too_large(name, packed)
            for row in batch.to_pylist():
                number += 1
                data = orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS)
                check_size(len(data), name, number, None)
                yield RawRow(number, None, data)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{name} after row {number}: not a whole {kind[1:]} file ({reason}); fetch it again"
        ) from error


def _batches(path: Path, name: str, kind: str) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    if kind == ".parquet":
        with pyarrow.parquet.ParquetFile(path) as table:
            groups = map(table.metadata.row_group, range(table.metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > allowed(path.stat().st_size):
                raise too_large(name, path.stat().st_size)
            yield from table.iter_batches(batch_size=BATCH_ROWS)
        return
    with pyarrow.memory_map(str(path)) as source:
        try:
            reader = pyarrow.ipc.open_stream(source)  # what `datasets` saves
        except pyarrow.ArrowInvalid:
            source.seek(0)
            file = pyarrow.ipc.open_file(source)
            reader = (file.get_batch(index) for index in range(file.num_record_batches))
        yield from reader
