"""One row as it stands in its file, and how it is parsed and written down again."""

import json
from dataclasses import dataclass
from typing import Any

import orjson

from mindtune.cli import UserError

# No dialogue is so long: 3,000 tokens are some 20 kB
MOST_ROW_BYTES = 16 << 20


class Unreadable(UserError):
    """A row that is not JSON."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it stands in its file.

    `number` counts from 1, `byte` is where it starts (None where rows have no offset). `open_end`:
    the file ends with it, and without a line end, as a file that was cut off does.
    """

    number: int
    byte: int | None
    data: bytes
    open_end: bool = False


def where(file: str, number: int, byte: int | None) -> str:
    """How an error names a row."""
    return f"{file} row {number}" + ("" if byte is None else f" (byte {byte})")


def check_size(size: int, file: str, number: int, byte: int | None) -> None:
    """A row beyond any dialogue is refused before it is read."""
    if size > MOST_ROW_BYTES:
        raise UserError(
            f"{where(file, number, byte)} has {size:,} bytes or more; no dialogue is longer than "
            f"{MOST_ROW_BYTES:,}: give each dialogue a row of its own, or take this one out"
        )


def parse(row: RawRow, file: str) -> Any:
    """The row's JSON value. Not JSON, or nested too deep to read, is Unreadable, with row and
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
        raise Unreadable(
            f"{where(file, row.number, offset)} is not UTF-8 ({fault.reason}); save the file as "
            f"UTF-8"
        ) from fault
    except (ValueError, RecursionError):
        offset = (
            None
            if row.byte is None
            else row.byte + len(error.doc[: error.pos].encode("utf-8", "replace"))
        )
        raise Unreadable(
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


def as_text(data: bytes) -> bytes:
    """Bytes that are no JSON, as a JSON string."""
    return json.dumps(data.decode("utf-8", "backslashreplace")).encode()
