"""Rows of JSON files: one list, one value a line, values over several lines, a list inside an
object, or one dialogue; told by the content. Values are cut by their brackets from a memory map.
"""

import mmap
import re
from collections.abc import Iterator

import orjson

from mindtune.cli import UserError
from mindtune.data.form_keys import DIALOGUE_IDS, PREFIXED, is_turn, key_of, pair_of, turn_of
from mindtune.data.raw_row import MOST_ROW_BYTES, RawRow, check_size, where

Content = mmap.mmap | bytes

_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]\[{}\"]++")
_KEY = re.compile(rb'[ \t\r\n]*+"([^"\\]{1,100})"[ \t\r\n]*+:[ \t\r\n]*+')
BOM = b"\xef\xbb\xbf"
WRAPPERS = (b"data", b"rows", b"train", b"examples", b"items", b"dialogues", b"dialogs",
    b"conversations")  # fmt: skip
MOST_KEYS = 100  # of an object that are looked at for a list of rows


def json_rows(content: Content, name: str) -> Iterator[RawRow]:
    """The rows of a JSON file, whatever its suffix says."""
    start = 3 if content[:3] == BOM else 0
    start = _SPACE.match(content, start).end()
    first = content[start : start + 1]
    if first == b"[" and not _is_dialogue(content, start):
        yield from _list_rows(content, start, name, wrapped=False)
    elif (wrapped := _wrapped_list(content, start) if first == b"{" else None) is not None:
        yield from _list_rows(content, wrapped, name, wrapped=True)
    elif (
        first in (b"{", b"[")
        and (end := _value_end(content, start))
        and b"\n" in content[start:end]
    ):
        yield from _value_rows(content, start, name)
    else:
        yield from _line_rows(content, start, name)


def _first_value(content: Content, start: int) -> object:
    """The first value of a list; None if it is not whole."""
    at = _SPACE.match(content, start + 1).end()
    end = _value_end(content, at)
    if end is None:
        return None
    try:
        return orjson.loads(content[at:end])
    except orjson.JSONDecodeError:
        return None


def _is_dialogue(content: Content, start: int) -> bool:
    """True for a list that is one row and not a list of rows: strings with speaker labels, or turns
    that do not say of which dialogue they are.
    """
    first = _first_value(content, start)
    if isinstance(first, str):
        return PREFIXED.match(first.lstrip()) is not None
    return is_turn(first) and key_of(first, DIALOGUE_IDS) is None


def _wrapped_list(content: Content, start: int) -> int | None:
    """Where the list of rows starts in an object such as `{"data": [...]}`; None for other objects.

    A list of turns or of question and answer makes the object itself a row.
    """
    at = start + 1
    for _ in range(MOST_KEYS):
        key = _KEY.match(content, at)
        if key is None:
            return None
        if content[key.end() : key.end() + 1] == b"[" and key[1] in WRAPPERS:
            first = _first_value(content, key.end())
            rows = isinstance(first, dict) and not turn_of(first) and "message" not in first
            pairs = key[1] in (b"conversations", b"dialogues", b"dialogs") and pair_of(first or {})
            return key.end() if rows and not pairs else None
        end = _value_end(content, key.end())
        if end is None:
            return None
        at = _SPACE.match(content, end).end()
        if content[at : at + 1] != b",":
            return None
        at += 1
    return None


def _cut_off(content: Content, name: str, number: int, start: int) -> UserError:
    if len(content) - start > MOST_ROW_BYTES:
        return UserError(
            f"{where(name, number, start)} does not end within {MOST_ROW_BYTES:,} bytes, and no "
            f"dialogue is longer; the file is damaged there, or the row must be split or taken out"
        )
    return UserError(
        f"{where(name, number, start)} does not end: the file is cut off or is not JSON there; "
        f"fetch it again"
    )


def _value_rows(content: Content, start: int, name: str) -> Iterator[RawRow]:
    number = 0
    while start < len(content):
        number += 1
        end = _value_end(content, start)
        if end is None:
            raise _cut_off(content, name, number, start)
        yield RawRow(number, start, content[start:end])
        start = _SPACE.match(content, end).end()


def _line_rows(content: Content, start: int, name: str) -> Iterator[RawRow]:
    number, size = 0, len(content)
    while start < size:
        end = content.find(b"\n", start, start + MOST_ROW_BYTES + 1)
        open_end = end < 0
        end = size if open_end else end
        check_size(end - start, name, number + 1, start)
        data = content[start:end].strip()
        if data:
            number += 1
            yield RawRow(number, start, data, open_end)
        start = end + 1


def _list_rows(content: Content, start: int, name: str, wrapped: bool) -> Iterator[RawRow]:
    position, number = _SPACE.match(content, start + 1).end(), 0
    if content[position : position + 1] == b"]":
        _expect_end(content, position + 1, name, wrapped)
        return
    while True:
        number += 1
        end = _value_end(content, position)
        if end is None:
            raise _cut_off(content, name, number, position)
        yield RawRow(number, position, content[position:end])
        position = _SPACE.match(content, end).end()
        mark = content[position : position + 1]
        if mark == b"]":
            _expect_end(content, position + 1, name, wrapped)
            return
        if mark != b",":
            found = repr(mark.decode("latin-1")) if mark else "the end of the file"
            raise UserError(
                f"{name} byte {position}, after row {number}: found {found}, expected ',' or ']'; "
                "the file is cut off or damaged: fetch it again"
            )
        position = _SPACE.match(content, position + 1).end()


def _expect_end(content: Content, position: int, name: str, wrapped: bool) -> None:
    """Nothing stands after the list; inside an object, its other members and its end."""
    position = _SPACE.match(content, position).end()
    while wrapped and content[position : position + 1] == b",":
        key = _KEY.match(content, position + 1)
        end = _value_end(content, key.end()) if key else None
        position = _SPACE.match(content, end).end() if end else len(content)
    if wrapped:
        if content[position : position + 1] != b"}":
            raise UserError(
                f"{name}: the object around the list of rows does not end; the file is cut off or "
                f"damaged: fetch it again"
            )
        position = _SPACE.match(content, position + 1).end()
    if position < len(content):
        raise UserError(
            f"{name} byte {position}: found more after the end of the JSON list; split the file in "
            f"two"
        )


def _value_end(content: Content, start: int) -> int | None:
    """Where the JSON value that starts here ends, told by strings and brackets alone.

    None if the content ends first, or no row is so long.
    """
    first, stop = content[start : start + 1], start + MOST_ROW_BYTES + 1
    if first not in (b"{", b"["):
        match = (_STRING if first == b'"' else _SCALAR).match(content, start, stop)
        return match.end() if match else None
    depth = 0
    for match in _BRACKETS.finditer(content, start, stop):
        mark = content[match.start()]
        if match.end() - match.start() > 1:
            continue
        if mark == 0x22:  # a quotation mark that opens a string without end
            return None
        depth += 1 if mark in b"{[" else -1
        if depth == 0:
            return match.end()
    return None
