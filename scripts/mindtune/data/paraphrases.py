"""Pairs of texts whose embeddings are alike: all are found, by products of blocks, and as many are
kept as join the groups, the most similar of each block first.

Every text is compared with every earlier one, so time is quadratic in the number of texts; memory
is that of the embeddings and of one block of products.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

ROWS, COLUMNS = 1024, 4096  # of a block of products: 16 MB, and 0.5 GB more where all are alike
DIGITS = 4  # of a similarity that is written down
ROUNDING = 1e-6  # of a product of two equal vectors in float32


def alike(vectors: Any, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(earlier, later, similarity) of all pairs whose cosine reaches the threshold, block by block.
    `vectors` is a torch tensor of shape (texts, dimensions), each of length 1.
    """
    import torch

    for top in range(0, len(vectors), ROWS):
        rows = vectors[top : top + ROWS]
        for left in range(0, top + len(rows), COLUMNS):
            columns = vectors[left : min(left + COLUMNS, top + len(rows))]
            products = rows @ columns.T
            later, earlier = torch.nonzero(products >= threshold - ROUNDING, as_tuple=True)
            before = earlier + left < later + top
            later, earlier = later[before], earlier[before]
            similarity = products[later, earlier].double().cpu().numpy()
            yield (
                (earlier + left).cpu().numpy(),
                (later + top).cpu().numpy(),
                np.round(similarity.clip(max=1.0), DIGITS),
            )


class Joins:
    """The pairs that join two groups of texts which no earlier pair has joined: one fewer than the
    texts at most, and they part the texts as all pairs do.
    """

    def __init__(self, texts: int) -> None:
        self.group = np.arange(texts)  # of each text: the number of the group's first one
        self.pairs: list[tuple[int, int, float]] = []
        self.seen = 0

    def add(self, earlier: np.ndarray, later: np.ndarray, similarity: np.ndarray) -> None:
        """Take the pairs of a block, in ascending order of `later`.

        Each text joins the most similar one first; where thousands are alike, few pairs are left
        after that which join anything.
        """
        self.seen += len(earlier)
        if not len(earlier):
            return
        starts = np.flatnonzero(np.append(True, later[1:] != later[:-1]))
        most = np.maximum.reduceat(similarity, starts)
        sizes = np.diff(np.append(starts, len(later)))
        places = np.flatnonzero(similarity == np.repeat(most, sizes))
        best = places[np.unique(later[places], return_index=True)[1]]
        self._join(earlier[best], later[best], similarity[best])
        apart = self.group[earlier] != self.group[later]
        self._join(earlier[apart], later[apart], similarity[apart])

    def _join(self, earlier: np.ndarray, later: np.ndarray, similarity: np.ndarray) -> None:
        """Join by one pair for any two groups, the most similar; of equal ones the first."""
        groups = np.sort(np.stack([self.group[earlier], self.group[later]]), axis=0)
        order = np.lexsort((earlier, later, -similarity))
        both = groups[0, order] * len(self.group) + groups[1, order]
        chosen = order[np.sort(np.unique(both, return_index=True)[1])]
        for place in chosen.tolist():
            first, second = self._find(groups[0, place]), self._find(groups[1, place])
            if first != second:
                self.group[max(first, second)] = min(first, second)
                self.pairs.append(
                    (int(earlier[place]), int(later[place]), float(similarity[place]))
                )
        self._level()

    def _find(self, text: int) -> int:
        while (above := self.group[text]) != text:
            self.group[text] = text = self.group[above]
        return int(text)

    def _level(self) -> None:
        while (self.group != (further := self.group[self.group])).any():
            self.group = further


def joins(vectors: Any, threshold: float) -> Joins:
    """The joins of all pairs of texts that are alike, and how many pairs there are."""
    found = Joins(len(vectors))
    for block in alike(vectors, threshold):
        found.add(*block)
    return found
