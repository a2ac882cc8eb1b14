"""Raw dialogue files read row by row: which files, and where each row starts.

A row travels as the JSON bytes it had in its file, so that what is rejected can be written down
unchanged. JSON lists and lines are cut by their brackets from a memory map: memory does not grow
with the file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from mindtune.cli import UserError
from mindtune.data.json_rows import json_rows
from mindtune.data.raw_row import RawRow, as_text, check_size, compact, parse, where
from mindtune.data.table_rows import SEPARATORS, csv_rows, decoded, table_rows
from mindtune.data.turn_rows import by_dialogue
from mindtune.data.unpacking import content_of
from mindtune.records import list_files

__all__ = ["RawRow", "as_text", "compact", "data_files", "kind_of", "parse", "raw_rows", "where"]

# Files that stand beside the data in a hub snapshot or in a folder saved by `datasets`, and hold
# no dialogues.
METADATA = frozenset({
    "config.json", "configuration.json", "dataset_dict.json", "dataset_info.json",
    "dataset_infos.json", "state.json",
})  # fmt: skip
SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".csv", ".tsv", ".txt")
PACKED = (".gz", ".zst")


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


def raw_rows(
    raw: str | Path, name: str, fields: Mapping[str, str] | None = None
) -> Iterator[RawRow]:
    """The rows of one data file, in file order; turns that are rows of their own as one row a
    dialogue. A file that is damaged or cut off is a UserError with row and byte.
    """
    yield from by_dialogue(_rows(Path(raw) / name, name), name, fields or {})


def _rows(path: Path, name: str) -> Iterator[RawRow]:
    kind = kind_of(name)
    if kind in (".parquet", ".arrow"):
        yield from table_rows(path, name, kind)
        return
    with content_of(path, name) as content:
        if kind in SEPARATORS:
            yield from csv_rows(content, name, kind)
        elif kind == ".txt":
            yield from _text_rows(content, name)
        else:
            yield from json_rows(content, name)


def _text_rows(content: bytes, name: str) -> Iterator[RawRow]:
    """A text file is one dialogue."""
    check_size(len(content), name, 1, 0)
    text = decoded(content[:], name, 0)
    if text.strip():
        yield RawRow(1, 0, orjson.dumps({"text": text}))
