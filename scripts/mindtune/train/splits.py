"""The splits as ms-swift gets them: as they are, or with what they do not say for it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mindtune.records import read_jsonl, write_jsonl


def prepared(dialogues: Path, folder: Path, more: Sequence[Mapping[str, Any]] = ()) -> Path:
    """The split; if it has turns that are not learned, a copy in which every counsellor's turn says
    whether it is; and if there are more dialogues, a copy with them at its end.

    The datasets library takes the keys of a turn from the first rows of a file, and ms-swift takes
    `loss` from each turn.
    """
    masked = any(turn.get("loss") is False for turn in turns_of(dialogues))
    if not masked and not more:
        return dialogues
    copy = folder / dialogues.name
    rows = chain(read_jsonl(dialogues), more)
    write_jsonl(copy, said_what_is_learned(rows) if masked else rows)
    return copy


def said_what_is_learned(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Rows in which every counsellor's turn says whether it is learned."""
    return (
        row
        | {
            "conversations": [
                {"loss": True, **turn} if turn["from"] == "gpt" else turn
                for turn in row["conversations"]
            ]
        }
        for row in rows
    )


def turns_of(dialogues: Path) -> Iterator[Mapping[str, Any]]:
    """Every turn of a split."""
    return (turn for row in read_jsonl(dialogues) for turn in row["conversations"])
