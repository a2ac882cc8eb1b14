"""Held-out texts in training dialogues: evaluation questions and reference replies, found by n-grams.

A training turn contains a held-out text when most of the text's character n-grams stand in the turn (it is quoted,
perhaps inside more), or when the two are near-duplicates. The held-out n-grams are indexed, so that time grows with
the training text and not with the number of held-out texts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindtune import forms, readers
from mindtune.cli import UserError
from mindtune.duplicates import gram_hashes, grams, jaccard, level

TEXT_KEYS = ("question", "prompt", "text", "reference")
COMMON = 50  # an n-gram of more held-out texts is a phrase of the language, and tells nothing
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
    """The questions, prompts and turns of a file of evaluation data, in any form that the readers know."""
    for row in readers.raw_rows(path.parent, path.name):
        content = readers.parse(row, path.name)
        form = forms.detect_form(content)
        if form:
            texts = [text for role, text in forms.read_turns(content, form) or () if role != "system"]
        else:
            fields = content if isinstance(content, dict) else {}
            texts = [fields[key] for key in TEXT_KEYS if isinstance(fields.get(key), str)]
        if not texts:
            raise UserError(
                f"{readers.where(str(path), row.number, row.byte)}: found no held-out text, expected one of the keys "
                f"{', '.join(TEXT_KEYS)} or a dialogue; correct data.contamination.files"
            )
        identity = content.get("id", row.number) if isinstance(content, dict) else row.number
        for number, text in enumerate(texts):
            yield HeldOut(f"{path.name}:{identity}" + (f"#{number}" if form else ""), path.name, text)


class Index:
    """The n-grams of held-out texts. Texts shorter than one n-gram, and copies of a text before, are left out."""

    def __init__(
        self, texts: Iterable[HeldOut], ngram_chars: int, overlap: float, similarity: float, near_chars: int
    ) -> None:
        self.size, self.overlap, self.similarity, self.near_chars = ngram_chars, overlap, similarity, near_chars
        levelled: dict[str, HeldOut] = {}
        self.too_short = 0
        for text in texts:
            plain = level(text.text)
            if len(plain) < ngram_chars:
                self.too_short += 1
            else:
                levelled.setdefault(plain, text)
        self.texts, self.levelled = list(levelled.values()), list(levelled)
        hashes, offsets = gram_hashes(self.levelled, ngram_chars) if levelled else (np.zeros(0, np.uint64), [0])
        owners = np.repeat(np.arange(len(self.texts)), np.diff(offsets))
        pairs = np.unique(np.stack([hashes, owners.astype(np.uint64)], axis=1), axis=0)
        self.grams, first, times = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        rare = times <= COMMON
        self.grams, self.first, self.times = self.grams[rare], first[rare], times[rare]
        self.owners = pairs[:, 1].astype(np.int64)
        self.needed = np.bincount(self.owners[np.repeat(times <= COMMON, times)], minlength=len(self.texts))
        # A table of one bit of each n-gram turns nearly all others away at the price of one look.
        self.mask = np.uint64((1 << max(16, int(16 * len(self.grams)).bit_length())) - 1)
        self.table = np.zeros(int(self.mask) + 1, dtype=bool)
        self.table[self.grams & self.mask] = True

    def hits(self, turns: Sequence[str]) -> list[Hit]:
        """Held-out texts in the turns, the best one of each turn, in the order of the turns."""
        if not len(self.grams) or not turns:
            return []
        plain = [level(turn) for turn in turns]
        turn_of, owner, count = self._shared(plain)
        best: dict[int, Hit] = {}
        for turn, text, shared in zip(turn_of.tolist(), owner.tolist(), count.tolist(), strict=True):
            overlap = shared / int(self.needed[text])
            if overlap < CANDIDATE:
                continue
            similarity = jaccard(grams(plain[turn], self.near_chars), grams(self.levelled[text], self.near_chars))
            if overlap >= self.overlap or similarity >= self.similarity:
                hit = Hit(turn, self.texts[text], round(overlap, 4), round(similarity, 4))
                if turn not in best or hit.overlap > best[turn].overlap:
                    best[turn] = hit
        return [best[turn] for turn in sorted(best)]

    def _shared(self, plain: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(turn, held-out text, different n-grams that both have) of every pair that shares any."""
        hashes, offsets = gram_hashes(plain, self.size)
        at = np.flatnonzero(self.table[hashes & self.mask])
        place = np.minimum(np.searchsorted(self.grams, hashes[at]), len(self.grams) - 1)
        found = self.grams[place] == hashes[at]
        turn, gram = np.searchsorted(offsets, at[found], side="right") - 1, place[found]
        turn, gram = np.unique(np.stack([turn, gram]), axis=1) if len(turn) else (turn, gram)
        times = self.times[gram]
        start = np.repeat(self.first[gram], times)
        within = np.arange(len(start)) - np.repeat(np.cumsum(times) - times, times)
        pairs = np.repeat(turn, times) * len(self.texts) + self.owners[start + within]
        pairs, count = np.unique(pairs, return_counts=True)
        return pairs // len(self.texts), pairs % len(self.texts), count


def check_contamination(settings: dict[str, Any]) -> None:
    """The settings are complete and within bounds."""
    expected = {"ngram_chars", "overlap", "similarity", "remove"}
    if set(settings) != expected:
        raise UserError(
            f"contamination: found the keys {', '.join(sorted(settings))}; expected {', '.join(sorted(expected))}"
        )
    if not (
        5 <= settings["ngram_chars"] <= 50
        and CANDIDATE <= settings["overlap"] <= 1
        and 0.3 <= settings["similarity"] <= 1
    ):
        raise UserError(
            f"contamination: found {settings}; expected ngram_chars from 5 to 50, overlap from {CANDIDATE} to 1 and similarity from 0.3 to 1"
        )
