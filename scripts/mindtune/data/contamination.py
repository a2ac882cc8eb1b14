"""Held-out texts in training dialogues: evaluation questions, and replies of the dev and test
sides, found by n-grams.

What many say is nobody's own: a goodbye in a reply of the test side is no leak. So an n-gram
counts as evidence if few training dialogues have it (`RARE`). A turn holds a held-out text

    whole   if it has nearly all of it, and that is long, a question of an evaluation, or rare;
            a reply that very many have is none, however long, unless few have its sentences in
            that order
    part    if it has a good share of it, and enough of that is rare
    near    if the two are near-duplicates, and what they share is rare

The first pass over the training side counts n-grams, the second looks at the turns that share any.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mindtune.cli import UserError
from mindtune.data.duplicates import level
from mindtune.data.ngram_index import COMMON, Index
from mindtune.data.ngrams import gram_bits, gram_hashes, grams, jaccard, may_be_similar

CANDIDATE = 0.2  # share of the n-grams looked for from which a pair is compared in full
RARE = 2  # dialogues of the training side that may have an n-gram that is evidence
WHOLE = 0.9  # share of a text's n-grams from which it is there as a whole
EVIDENCE = 20  # rare n-grams that make a leak: 32 characters in a row, if they are 13-grams
LONG = 48  # characters: so long a reply is somebody's own, though COMMON dialogues may have it
SEAM = 6  # rare n-grams that show a seam: two sentences that many say, and few one after the other
QUESTION = 20  # the same of a question of an evaluation, which nobody says by chance
NEAR_LONG = 40  # characters of a reply from which a near-duplicate is more than a greeting
LETTERS = 2  # times as many characters, of a text in a script of letters
SYLLABLES = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # Chinese, Japanese, Korean
NEAR_CHARS = 5  # of the n-grams of near-duplicates
PASSAGE = 80  # characters of what is shared that a hit quotes
SIDES = ("dev", "test")  # the sources that are no files


@dataclass(frozen=True)
class HeldOut:
    """One text that training must not have seen; `name` says where it stands."""

    name: str
    source: str
    text: str


@dataclass(frozen=True)
class Hit:
    """A training turn (a number among those given) that holds a held-out text, and why.

    `overlap`: the share of the text's n-grams that the turn has; `rare`: how many of these are
    evidence; `seen`: in how many training dialogues the shared ones stand, by their median.
    """

    turn: int
    text: HeldOut
    rule: str
    overlap: float
    similarity: float
    rare: int
    seen: int
    passage: str


class HeldOutTexts:
    """The texts to look for. Texts shorter than one n-gram, and copies of a text before, are left
    out.
    """

    def __init__(self, texts: Iterable[HeldOut], ngram_chars: int) -> None:
        levelled: dict[str, HeldOut] = {}
        self.size, self.too_short = ngram_chars, 0
        for text in texts:
            plain = level(text.text)
            if len(plain) < ngram_chars:
                self.too_short += 1
            else:
                levelled.setdefault(plain, text)
        self.texts, self.levelled = list(levelled.values()), list(levelled)
        self.index = Index(self.levelled, ngram_chars)

    def times_in(self, dialogues: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """See `Postings.times_in`; the turns as they are."""
        return self.index.times_in([[level(turn) for turn in turns] for turns in dialogues])


class Search:
    """What the second pass needs: the texts, and how often their n-grams stand in training."""

    def __init__(
        self, held_out: HeldOutTexts, seen: np.ndarray, overlap: float, similarity: float
    ) -> None:
        self.held_out, self.seen = held_out, seen
        self.overlap, self.similarity = overlap, similarity
        self.narrow = held_out.index.narrowed(seen, RARE)
        parts = [
            held_out.levelled[start : start + 1000]
            for start in range(0, len(held_out.levelled), 1000)
        ]
        maps = [gram_bits(part, NEAR_CHARS) for part in parts]
        self.bits = np.concatenate(maps) if maps else np.empty((0, 8), np.uint64)
        self.lengths = np.array([len(plain) for plain in held_out.levelled])
        self.own = lru_cache(maxsize=4096)(lambda text: self._hashes(held_out.levelled[text]))

    def _hashes(self, plain: str) -> np.ndarray:
        return np.unique(gram_hashes([plain], self.held_out.size)[0])

    def hits(self, turns: Sequence[str]) -> list[Hit]:
        """The held-out text that each turn has most of, where it holds one, in the order of the
        turns.
        """
        if not self.held_out.texts or not turns:
            return []
        plain = [level(turn) for turn in turns]
        turn, text, share = self._candidates(plain)
        best: dict[int, Hit] = {}
        own: tuple[int, np.ndarray] = (-1, np.empty(0))
        for number, other in zip(turn.tolist(), text.tolist(), strict=True):
            if own[0] != number:
                own = (number, self._hashes(plain[number]))
            hit = self._judge(number, plain[number], own[1], other)
            if hit and (number not in best or hit.overlap > best[number].overlap):
                best[number] = hit
        return list(best.values())

    def _candidates(self, plain: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(turn, text, share of the n-grams looked for) of pairs to compare in full, by turn: half
        of these n-grams are there, or enough of them, or the two may be near-duplicates.
        """
        turn, text, share = self.narrow.overlaps(plain)
        likely = np.flatnonzero(share >= CANDIDATE)
        turn, text, share = turn[likely], text[likely], share[likely]
        chosen = (share >= 0.5) | (share * self.narrow.needed[text] >= EVIDENCE)
        rest = np.flatnonzero(~chosen)
        chosen[rest] = self._may_be_near(plain, turn[rest], text[rest])
        order = np.flatnonzero(chosen)
        order = order[np.lexsort((text[order], -share[order], turn[order]))]
        return turn[order], text[order], share[order]

    def _may_be_near(self, plain: Sequence[str], turn: np.ndarray, text: np.ndarray) -> np.ndarray:
        """False for pairs that are too far apart to be near-duplicates, by their bit maps."""
        turns, row = np.unique(turn, return_inverse=True)
        looked_at = [plain[number] for number in turns.tolist()]
        if not looked_at:
            return np.zeros(0, dtype=bool)
        bits = gram_bits(looked_at, NEAR_CHARS)
        sizes = np.array([len(one) for one in looked_at])[row] + self.lengths[text]
        return may_be_similar(bits[row], self.bits[text], sizes, self.similarity)

    def _judge(self, number: int, plain: str, turn: np.ndarray, text: int) -> Hit | None:
        """Whether a turn holds a text, by which rule."""
        own, held_out = self.own(text), self.held_out.texts[text]
        shared = own[np.isin(own, turn, kind="sort")]
        seen = self.seen[self.held_out.index.table.find(shared)[1]]
        overlap, rare = len(shared) / len(own), int((seen <= RARE).sum())
        often = int(np.median(seen)) if len(seen) else 0
        whole, reply = self.held_out.levelled[text], held_out.source in SIDES
        letters = 1 if SYLLABLES.search(whole) else LETTERS
        long, near_long = (LONG, NEAR_LONG) if reply else (QUESTION, QUESTION)
        common = reply and often > COMMON and rare < SEAM
        own_words = len(whole) >= letters * long and not common
        evidence = rare >= letters * EVIDENCE
        near = jaccard(grams(plain, NEAR_CHARS), grams(whole, NEAR_CHARS))
        if overlap >= WHOLE and (own_words or evidence):
            rule = "whole"
        elif overlap >= self.overlap and evidence:
            rule = "part"
        elif (
            near >= self.similarity and len(whole) >= letters * near_long and 2 * rare > len(shared)
        ):
            rule = "near"
        else:
            return None
        return Hit(
            number, held_out, rule, round(overlap, 4), round(near, 4), rare, often,
            self._passage(plain, text),
        )  # fmt: skip

    def _passage(self, plain: str, text: int) -> str:
        """The longest piece of a text that the turn has, cut where it is long."""
        whole, size = self.held_out.levelled[text], self.held_out.size
        turn, best, start = grams(plain, size), (0, 0), 0
        for end in range(len(whole) - size + 2):
            if end == len(whole) - size + 1 or whole[end : end + size] not in turn:
                best = max(best, (end - start, -start))
                start = end + 1
        length, at = best[0] + size - 1, -best[1]
        return whole[at : at + min(length, PASSAGE)] if best[0] else ""


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
