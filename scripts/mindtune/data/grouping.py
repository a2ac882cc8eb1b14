"""Which dialogues of a cleaned file belong together: the signs by which they are told, read piece
by piece, and the groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from mindtune.cli import UserError
from mindtune.data.duplicates import (
    band_keys,
    band_shape,
    first_turn_key,
    first_turn_text,
    similar_pairs,
    spoken_text,
)
from mindtune.data.first_turns import SIMILARITY, similar_turns
from mindtune.data.lines import Lines
from mindtune.data.ngrams import gram_hashes
from mindtune.data.splitting import Group, group_dialogues
from mindtune.processes import in_order
from mindtune.records import read_jsonl

FIRST_TURN_CHARS = 5  # of an n-gram of a first client turn


@dataclass(frozen=True)
class Signs:
    """What tells some rows apart, one entry a row: `bands` has shape (rows, bands). `parts` follow
    a part of their dialogue. `grams` are the n-grams of all first turns, `sizes` how many each has.
    """

    ids: list[str]
    sources: list[str]
    first_turns: list[str]
    parts: list[int]
    bands: np.ndarray
    grams: np.ndarray
    sizes: np.ndarray


def source_file(row: dict[str, Any]) -> str:
    """The source without its row number: `demo:zh.jsonl` of `demo:zh.jsonl#12`. A name that comes
    again is one object.
    """
    return intern(row["source"].rpartition("#")[0])


def sign(lines: Lines, near: dict[str, float], piece: range) -> Signs:
    """The signs of a piece of the file."""
    rows = [lines.row(number) for number in piece]
    before = [lines.row(piece.start - 1) if piece.start else {"source": None}, *rows]
    first_turns = [first_turn_text(row["conversations"]) for row in rows]
    grams, offsets = gram_hashes(first_turns, FIRST_TURN_CHARS)
    return Signs(
        ids=[row["id"] for row in rows],
        sources=list(map(source_file, rows)),
        first_turns=list(map(first_turn_key, first_turns)),
        parts=[
            n
            for n, last, row in zip(piece, before, rows, strict=False)
            if row["source"] == last["source"]
        ],
        bands=band_keys(
            [spoken_text(row["conversations"]) for row in rows],
            near["ngram_chars"],
            near["threshold"],
        ),
        grams=grams,
        sizes=np.diff(offsets),
    )


class FirstTurns:
    """The n-grams of every first turn that differs from those before."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}  # of its first dialogue
        self.grams: list[np.ndarray] = []
        self.sizes: list[np.ndarray] = []

    def add(self, piece: range, signs: Signs) -> None:
        """Take the turns of a piece."""
        new = np.zeros(len(piece), dtype=bool)
        for at, (row, key) in enumerate(zip(piece, signs.first_turns, strict=True)):
            new[at] = self.rows.setdefault(key, row) == row
        self.grams.append(signs.grams[np.repeat(new, signs.sizes)])
        self.sizes.append(signs.sizes[new])

    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of rows whose first turns are nearly the same."""
        rows = list(self.rows.values())
        grams, sizes = np.concatenate(self.grams), np.concatenate(self.sizes)
        self.grams.clear()
        pairs = similar_turns(grams, sizes, SIMILARITY)
        return [(rows[earlier], rows[later]) for earlier, later in pairs.tolist()]


@dataclass(frozen=True)
class Grouped:
    """The ids of all rows, the groups over them, and the pairs of near-duplicates that were found
    (`first_turns`: of different first turns; `paraphrases`: those that were given).
    """

    ids: list[str]
    groups: list[Group]
    dialogues: Sequence[tuple[int, int]]
    first_turns: Sequence[tuple[int, int]]
    paraphrases: Sequence[tuple[int, int]] = ()

    def near_duplicates(self) -> list[tuple[int, int]]:
        """All pairs of near-duplicates."""
        return [*self.dialogues, *self.first_turns, *self.paraphrases]


def rows_of(paths: Sequence[Path], ids: Sequence[str]) -> list[tuple[int, int]]:
    """The rows of the pairs in files of find_paraphrases."""
    row_of = {identity: row for row, identity in enumerate(ids)} if paths else {}
    pairs = [(path, pair["first"], pair["second"]) for path in paths for pair in read_jsonl(path)]
    for path, *pair in pairs:
        if strangers := [identity for identity in pair if identity not in row_of]:
            raise UserError(
                f"{path} names the dialogue {strangers[0]!r}, which is not among those that are "
                f"split; delete the file and run again"
            )
    return [(row_of[first], row_of[second]) for _, first, second in pairs]


def find_groups(
    lines: Lines, near: dict[str, float], threads: int, paraphrases: Sequence[Path] = ()
) -> Grouped:
    """Read a cleaned file and say which of its dialogues belong together; `paraphrases` are files
    of further pairs, by ids.
    """
    ids, keys, sources, parts, first = [], [], [], [], FirstTurns()
    bands = np.zeros((len(lines), band_shape(near["threshold"])[0]), dtype=np.uint64)
    for piece, signs in in_order(lambda: partial(sign, lines, near), lines.pieces(), threads):
        ids += signs.ids
        keys += signs.first_turns
        sources += signs.sources
        parts += [(row - 1, row) for row in signs.parts]
        bands[piece.start : piece.stop] = signs.bands
        first.add(piece, signs)
    if not keys:
        raise UserError(
            f"{lines.path} is empty; nothing was kept: look at the reasons in rejected.jsonl "
            f"beside it"
        )

    def text_of(number: int) -> str:
        return spoken_text(lines.row(number)["conversations"])

    near_first = first.pairs()
    near_whole = similar_pairs(bands, text_of, near["ngram_chars"], near["threshold"])
    told = rows_of(paraphrases, ids)
    groups = group_dialogues(keys, sources, [*near_whole, *near_first, *told, *parts])
    return Grouped(ids, groups, near_whole, near_first, told)
