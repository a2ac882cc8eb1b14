"""Rows that a person had erased are taken out of the files as they were fetched, before anything
reads them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from mindtune.cli import UserError
from mindtune.data.readers import RawRow, data_files, raw_rows
from mindtune.erased import row_digest

SPACE = b" \t\r\n"
Fields = Mapping[str, str]


def take_out(folder: Path, digests: Collection[str], fields: Fields, key: str) -> int:
    """Take the rows with these digests out of the data files of a folder; return how many there
    were.

    `fields` is the dataset's own, because it decides what one row is. A row in a file that cannot
    be edited as text (a table, a compressed file) is a UserError.
    """
    taken = 0
    for name in data_files(folder)[0] if digests else ():
        rows = [row for row in raw_rows(folder, name, fields) if row_digest(row.data) in digests]
        if rows:
            remove_rows(folder / name, rows, digests, fields, key)
            taken += len(rows)
    return taken


def remove_rows(
    path: Path, rows: Sequence[RawRow], digests: Collection[str], fields: Fields, key: str
) -> None:
    """Write a file again without some of its rows, and read it to see that the others are left."""

    def read() -> Iterator[RawRow]:
        return raw_rows(path.parent, path.name, fields)

    before = sum(1 for _ in read())
    content = bytearray(path.read_bytes())
    for row in reversed(rows):
        place = -1 if row.byte is None else content.find(row.data, row.byte)
        if place != -1:
            cut(content, place, place + len(row.data))
    path.write_bytes(content)
    left = [row_digest(row.data) for row in read()] if content else []
    if len(left) != before - len(rows) or set(left) & set(digests):
        raise UserError(
            f"{key}: {path.name} row {rows[0].number} is on the list of erased rows and cannot be "
            f"taken out of a file of this form; take it out of the source, as JSON lines for "
            f"example"
        )


def cut(content: bytearray, start: int, end: int) -> None:
    """Remove a value with the comma, or the line break, that goes with it."""
    after = end
    while after < len(content) and content[after] in SPACE and content[after] not in b"\n":
        after += 1
    following = bytes(content[after:]).lstrip(SPACE)[:1]
    if following == b",":
        end = content.index(b",", after) + 1
    elif content[after : after + 1] == b"\n":
        end = after + 1
    if following != b",":
        before = bytes(content[:start]).rstrip(SPACE)
        start = len(before) - 1 if before.endswith(b",") else start
    del content[start:end]
