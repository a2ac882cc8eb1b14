"""Held-out texts in training dialogues: evaluation questions and reference replies, found by
n-grams.

A training turn contains a held-out text when most of the text's character n-grams stand in the
turn (it is quoted, perhaps inside more), or when the two are near-duplicates. The held-out n-grams
are indexed, so that time grows with the training text and not with the number of held-out texts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindtune.cli import UserError
from mindtune.data import forms, readers
from mindtune.data.duplicates import (
    gram_bits,
    gram_hashes,
    grams,
    jaccard,
    level,
    may_be_similar,
    mix,
)

TEXT_KEYS = ("question", "prompt", "text", "reference")
COMMON = 50  # an n-gram of more held-out texts is a phrase of the language, and tells nothing
SLOTS_A_GRAM = 4  # so few n-grams share a slot that a search is two looks or three
CANDIDATE = 0.2  # share of n-grams from which a near-duplicate is looked for


@dataclass(frozen=True)
class HeldOut:
    """One text that training must not have seen; `name` says where it stands."""

    name: str
    source: str
    text: str


@dataclass(frozen=True)
class Hit:
    """A training turn (a number among those given) that holds a held-out text."""

    turn: int
    text: HeldOut
    overlap: float
    similarity: float


def read_held_out(path: Path) -> Iterator[HeldOut]:
    """The questions, prompts and turns of a file of evaluation data, in any form that the readers
    know.
    """
    for row in readers.raw_rows(path.parent, path.name):
        content = readers.parse(row, path.name)
        form = forms.detect_form(content)
        if form:
            texts = [
                text for role, text in forms.read_turns(content, form) or () if role != "system"
            ]
        else:
            fields = content if isinstance(content, dict) else {}
            texts = [fields[key] for key in TEXT_KEYS if isinstance(fields.get(key), str)]
        if not texts:
            raise UserError(
                f"{readers.where(str(path), row.number, row.byte)}: found no held-out text, "
                f"expected one of the keys "
                f"{', '.join(TEXT_KEYS)} or a dialogue; correct data.contamination.files"
            )
        identity = content.get("id", row.number) if isinstance(content, dict) else row.number
        for number, text in enumerate(texts):
            yield HeldOut(
                f"{path.name}:{identity}" + (f"#{number}" if form else ""), path.name, text
            )


class GramTable:
    """Where each of many 64-bit hashes stands in their sorted list; the upper bits of a hash lead
    to its place.
    """

    def __init__(self, hashes: np.ndarray) -> None:
        bits = max(16, (SLOTS_A_GRAM * len(hashes)).bit_length())
        self.shift = np.uint64(64 - bits)
        taken = np.bincount((hashes >> self.shift).astype(np.int64), minlength=1 << bits)
        self.starts = np.zeros(len(taken) + 1, dtype=np.uint32)
        np.cumsum(taken, out=self.starts[1:])
        self.hashes = np.append(hashes, np.uint64(2**64 - 1))  # the search ends here at the latest

    def find(self, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(positions in `wanted` of hashes that are in the list, their places in it)."""
        slot = (wanted >> self.shift).astype(np.int64)
        place = self.starts[slot]
        at = np.flatnonzero(place < self.starts[slot + 1])  # most are turned away here
        wanted, place = wanted[at], place[at].astype(np.int64)
        while (before := self.hashes[place] < wanted).any():
            place += before
        found = (self.hashes[place] == wanted) & (place < len(self.hashes) - 1)
        return at[found], place[found]


class Index:
    """The n-grams of held-out texts. Texts shorter than one n-gram, and copies of a text before,
    are left out.

    N-grams that the very same texts have (told by a 64-bit hash of the texts' numbers) are one
    kind: a sentence that several texts quote is looked up in them once, not once an n-gram.
    """

    def __init__(
        self,
        texts: Iterable[HeldOut],
        ngram_chars: int,
        overlap: float,
        similarity: float,
        near_chars: int,
    ) -> None:
        self.size, self.overlap, self.similarity, self.near_chars = (
            ngram_chars,
            overlap,
            similarity,
            near_chars,
        )
        levelled: dict[str, HeldOut] = {}
        self.too_short = 0
        for text in texts:
            plain = level(text.text)
            if len(plain) < ngram_chars:
                self.too_short += 1
            else:
                levelled.setdefault(plain, text)
        self.texts, self.levelled = list(levelled.values()), list(levelled)
        if levelled:
            self._index()
            parts = (
                self.levelled[start : start + 1000] for start in range(0, len(self.levelled), 1000)
            )
            self.bits = np.concatenate([gram_bits(part, near_chars) for part in parts])
            self.lengths = np.array([len(plain) for plain in self.levelled])

    def _index(self) -> None:
        """`table`: all n-grams but common ones; `kind` of each; `first` and `times`: the texts of
        a kind, in `owners`.
        """
        hashes, offsets = gram_hashes(self.levelled, self.size)
        owners = np.repeat(np.arange(len(self.texts)), np.diff(offsets))
        order = np.argsort(hashes, kind="stable")
        hashes, owners = hashes[order], owners[order]
        new = np.append(True, (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1]))
        hashes, self.owners = hashes[new], owners[new]
        grams, first, times = np.unique(hashes, return_index=True, return_counts=True)
        rare = times <= COMMON
        self.table = GramTable(grams[rare])
        self.needed = np.bincount(self.owners[np.repeat(rare, times)], minlength=len(self.texts))
        signs = np.add.reduceat(mix(self.owners.astype(np.uint64) + np.uint64(1)), first)[rare]
        _, example, self.kind = np.unique(signs, return_index=True, return_inverse=True)
        self.first, self.times = first[rare][example], times[rare][example]

    def hits(self, turns: Sequence[str]) -> list[Hit]:
        """Held-out texts in the turns, the best one of each turn, in the order of the turns."""
        if not self.texts or not turns:
            return []
        plain = [level(turn) for turn in turns]
        turn, text, overlap = self._overlaps(plain)
        holds = overlap >= self.overlap
        near = np.flatnonzero(~holds & (overlap >= CANDIDATE))
        holds[near] = self._may_be_near(plain, turn[near], text[near])
        return self._best(plain, turn[holds], text[holds], overlap[holds])

    def _overlaps(self, plain: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(turn, held-out text, share of the text's different n-grams that the turn has) of every
        pair that shares any.
        """
        hashes, offsets = gram_hashes(plain, self.size)
        at, place = self.table.find(hashes)
        turn = np.repeat(np.arange(len(plain)), np.diff(offsets))[at]
        # (turn, n-gram) once each, counted by (turn, kind), spread over the texts of the kind,
        # added up by (turn, text)
        turn, place = np.divmod(np.unique(turn * len(self.kind) + place), len(self.kind))
        pairs, count = np.unique(turn * len(self.first) + self.kind[place], return_counts=True)
        turn, kind = np.divmod(pairs, len(self.first))
        times = self.times[kind]
        owner = np.arange(times.sum()) + np.repeat(
            self.first[kind] - np.cumsum(times) + times, times
        )
        pairs = np.repeat(turn, times) * len(self.texts) + self.owners[owner]
        pairs, pair = np.unique(pairs, return_inverse=True)
        turn, text = np.divmod(pairs, len(self.texts))
        return (
            turn,
            text,
            np.bincount(pair, np.repeat(count, times), len(pairs)) / self.needed[text],
        )

    def _may_be_near(self, plain: Sequence[str], turn: np.ndarray, text: np.ndarray) -> np.ndarray:
        """False for pairs that are too far apart to be near-duplicates, by their bit maps."""
        turns, row = np.unique(turn, return_inverse=True)
        looked_at = [plain[number] for number in turns.tolist()]
        if not looked_at:
            return np.zeros(0, dtype=bool)
        bits = gram_bits(looked_at, self.near_chars)
        lengths = np.array([len(one) for one in looked_at])
        return may_be_similar(
            bits[row], self.bits[text], lengths[row] + self.lengths[text], self.similarity
        )

    def _best(
        self, plain: Sequence[str], turn: np.ndarray, text: np.ndarray, overlap: np.ndarray
    ) -> list[Hit]:
        """The held-out text of each turn that overlaps most (the first of equals) and overlaps
        enough or is near.
        """
        shares = np.array([round(share, 4) for share in overlap.tolist()])
        best: dict[int, Hit] = {}
        order = np.lexsort((text, -shares, turn))
        columns = (
            column[order].tolist() for column in (turn, text, shares, overlap >= self.overlap)
        )
        for number, other, share, holds in zip(*columns, strict=True):
            if number in best:
                continue
            similarity = jaccard(
                grams(plain[number], self.near_chars), grams(self.levelled[other], self.near_chars)
            )
            if holds or similarity >= self.similarity:
                best[number] = Hit(number, self.texts[other], share, round(similarity, 4))
        return list(best.values())


def check_contamination(settings: dict[str, Any]) -> None:
    """The settings are complete and within bounds."""
    expected = {"ngram_chars", "overlap", "similarity", "remove"}
    if set(settings) != expected:
        raise UserError(
            f"contamination: found the keys {', '.join(sorted(settings))}; expected "
            f"{', '.join(sorted(expected))}"
        )
    if not (
        5 <= settings["ngram_chars"] <= 50
        and CANDIDATE <= settings["overlap"] <= 1
        and 0.3 <= settings["similarity"] <= 1
    ):
        raise UserError(
            f"contamination: found {settings}; expected ngram_chars from 5 to 50, overlap from "
            f"{CANDIDATE} to 1 and similarity from 0.3 to 1"
        )
