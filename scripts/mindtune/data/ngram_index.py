"""An index over the character n-grams of many texts: which of them stand in a turn, and what share
of each text.

Time grows with the turns and not with the number of texts.
"""

from collections.abc import Sequence

import numpy as np

from mindtune.data.ngrams import gram_hashes, mix

COMMON = 50  # an n-gram of more texts is a phrase of the language, and tells nothing
LEAST_SEEN = 16  # n-grams of a text by which it is looked for, however often others say them
SLOTS_A_GRAM = 4  # so few n-grams share a slot that a search is two looks or three


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


class Postings:
    """Which texts have which n-grams, from (hash, text) entries that are sorted and differ.

    N-grams that the very same texts have (told by a 64-bit hash of the texts' numbers) are one
    kind: a sentence that several texts quote is looked up in them once, not once an n-gram.
    """

    def __init__(self, hashes: np.ndarray, owners: np.ndarray, texts: int, size: int) -> None:
        self.owners, self.texts, self.size = owners, texts, size
        self.needed = np.bincount(owners, minlength=texts)
        grams, first, times = np.unique(hashes, return_index=True, return_counts=True)
        self.table = GramTable(grams)
        self.entries = np.repeat(np.arange(len(grams)), times)  # entry -> place of its n-gram
        signs = mix(owners.astype(np.uint64) + np.uint64(1))
        signs = np.add.reduceat(signs, first) if len(first) else signs
        _, example, self.kind = np.unique(signs, return_index=True, return_inverse=True)
        self.first, self.times = first[example], times[example]

    def times_in(self, dialogues: Sequence[Sequence[str]]) -> tuple[np.ndarray, ...]:
        """(places of n-grams that dialogues have, how many dialogues have each, the numbers of
        dialogues that have any); a dialogue is given as its levelled turns.
        """
        turns = [turn for dialogue in dialogues for turn in dialogue]
        if not turns:
            return np.empty(0, int), np.empty(0, int), np.empty(0, int)
        hashes, offsets = gram_hashes(turns, self.size)
        at, place = self.table.find(hashes)
        of_turn = np.repeat(np.arange(len(dialogues)), [len(dialogue) for dialogue in dialogues])
        dialogue = of_turn[np.searchsorted(offsets, at, side="right") - 1]
        width = len(self.table.hashes)
        dialogue, place = np.divmod(np.unique(dialogue * width + place), width)
        places, times = np.unique(place, return_counts=True)
        return places, times, np.unique(dialogue)

    def overlaps(self, turns: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(turn, text, share of the text's n-grams that the turn has) of every pair that shares
        any; the turns are levelled.
        """
        hashes, offsets = gram_hashes(turns, self.size)
        at, place = self.table.find(hashes)
        turn = np.searchsorted(offsets, at, side="right") - 1
        # (turn, n-gram) once each, counted by (turn, kind), spread over the texts of the kind,
        # added up by (turn, text)
        turn, place = np.divmod(np.unique(turn * len(self.kind) + place), max(1, len(self.kind)))
        pairs, count = np.unique(turn * len(self.first) + self.kind[place], return_counts=True)
        turn, kind = np.divmod(pairs, max(1, len(self.first)))
        times = self.times[kind]
        owner = np.arange(times.sum()) + np.repeat(
            self.first[kind] - np.cumsum(times) + times, times
        )
        pairs, pair = np.unique(
            np.repeat(turn, times) * self.texts + self.owners[owner], return_inverse=True
        )
        turn, text = np.divmod(pairs, self.texts)
        shared = np.bincount(pair, np.repeat(count, times), len(pairs))
        return turn, text, shared / self.needed[text]


class Index(Postings):
    """The n-grams of levelled texts, common ones left out."""

    def __init__(self, texts: Sequence[str], size: int) -> None:
        hashes, offsets = gram_hashes(texts, size) if texts else (np.empty(0, np.uint64), [0])
        owners = np.repeat(np.arange(len(texts)), np.diff(offsets))
        order = np.lexsort((owners, hashes))
        hashes, owners = hashes[order], owners[order]
        new = np.append(True, (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1]))
        new = new[: len(hashes)]
        hashes, owners = hashes[new], owners[new]
        _, times = np.unique(hashes, return_counts=True)
        rare = np.repeat(times <= COMMON, times)
        super().__init__(hashes[rare], owners[rare], len(texts), size)

    def narrowed(self, seen: np.ndarray, most: int) -> Postings:
        """Of each text the n-grams that `most` dialogues or fewer have, and in any case its least
        seen ones. `seen` says in how many dialogues the n-gram of each place stands.
        """
        hashes = self.table.hashes[self.entries]
        order = np.lexsort((mix(hashes), seen[self.entries], self.owners))
        starts = np.cumsum(self.needed) - self.needed
        rank = np.arange(len(order)) - starts[self.owners[order]]
        keep = np.zeros(len(order), dtype=bool)
        keep[order] = (rank < LEAST_SEEN) | (seen[self.entries[order]] <= most)
        return Postings(hashes[keep], self.owners[keep], self.texts, self.size)
