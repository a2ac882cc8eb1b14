"""First client turns that are nearly the same, all of them: an exact search, without comparing each
with all others.

Two sets of n-grams with a Jaccard similarity of t or more share one of the rarest n-grams of each:
of s n-grams the s - ceil(t s) + 1 rarest are enough to meet (prefix filtering; Chaudhuri et al.
2006, Bayardo et al. 2007). So only turns that share a rare n-gram are compared.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from mindtune.data.ngrams import bit_maps, may_be_similar

SIMILARITY = 0.8  # from which two first turns are taken for one: `我很自卑，觉得…`, `很自卑，觉得…`
COUNT_BITS = 12  # of an n-gram's frequency: what is more frequent is not told apart
SLOTS = 1 << 22  # n-grams are counted by hash; two in one slot only look more frequent
# Turns that share an n-gram are compared with so many before them: bounds the work where the
# rarest n-grams of thousands of different turns are the same.
SPAN = 64


def similar_turns(hashes: np.ndarray, sizes: np.ndarray, threshold: float) -> np.ndarray:
    """All pairs (earlier, later) of turns whose similarity reaches the threshold, shape (pairs, 2).

    `hashes` (uint64) are the n-grams of all turns in a row, `sizes` how many each has, 1 or more.
    """
    turns = len(sizes)
    tokens, different = _rarest(hashes, sizes, threshold)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    bits = bit_maps(hashes, starts)

    @lru_cache(maxsize=4096)
    def grams(turn: int) -> set[int]:
        return set(hashes[starts[turn] : starts[turn + 1]].tolist())

    candidates = [
        pairs[_close(pairs, different, bits, threshold)] for pairs in _meetings(tokens, turns)
    ]
    pairs = np.unique(np.concatenate(candidates), axis=0) if candidates else np.empty((0, 2), int)
    similar = [
        (len(grams(first)) + len(grams(second))) * threshold
        <= (1 + threshold) * len(grams(first) & grams(second)) + 1e-9
        for first, second in pairs.tolist()
    ]
    return pairs[np.array(similar, dtype=bool)]


def _rarest(
    hashes: np.ndarray, sizes: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """(the rarest n-grams of each turn with the turn in the lower bits, ascending; how many
    different n-grams a turn has).

    An n-gram stands as its frequency and the upper bits of its hash, in one order for all turns.
    """
    turn_bits = np.uint64(len(sizes).bit_length())
    token_bits = np.uint64(64) - turn_bits
    parts = [slice(start, start + SLOTS) for start in range(0, len(hashes), SLOTS)]
    often = sum(np.bincount(_slots(hashes[part]), minlength=SLOTS) for part in parts)
    often = np.minimum(often, (1 << COUNT_BITS) - 1).astype(np.uint64)
    often <<= token_bits - np.uint64(COUNT_BITS)
    ordered = hashes >> (turn_bits + np.uint64(COUNT_BITS))
    for part in parts:
        ordered[part] |= often[_slots(hashes[part])]
    ordered |= np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes) << token_bits
    ordered.sort()
    ordered = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    turn = (ordered >> token_bits).astype(np.int64)
    different = np.bincount(turn, minlength=len(sizes))
    first = np.cumsum(different) - different
    enough = different - np.ceil(threshold * different - 1e-9).astype(np.int64) + 1
    chosen = ordered[np.arange(len(ordered)) - first[turn] < enough[turn]]
    tokens = (chosen << turn_bits) | (chosen >> token_bits)
    tokens.sort()
    return tokens, different


def _slots(hashes: np.ndarray) -> np.ndarray:
    """Where each n-gram is counted."""
    return (hashes % np.uint64(SLOTS)).astype(np.int64)


def _meetings(tokens: np.ndarray, turns: int) -> Iterator[np.ndarray]:
    """Pairs (earlier, later) of turns that share one of the tokens."""
    turn_bits = np.uint64(turns.bit_length())
    token, turn = tokens >> turn_bits, (tokens & ((np.uint64(1) << turn_bits) - np.uint64(1)))
    turn, at = turn.astype(np.int64), np.arange(len(tokens))
    for step in range(1, SPAN + 1):
        at = at[: np.searchsorted(at, len(tokens) - step)]
        at = at[token[at] == token[at + step]]
        if not len(at):
            return
        yield np.stack([turn[at], turn[at + step]], axis=1)


def _close(
    pairs: np.ndarray, different: np.ndarray, bits: np.ndarray, threshold: float
) -> np.ndarray:
    """False for pairs that cannot be similar, by their sizes and by their bit maps."""
    sizes = different[pairs]
    close = sizes.min(axis=1) >= threshold * sizes.max(axis=1) - 1e-9
    near = pairs[close]
    close[close] = may_be_similar(
        bits[near[:, 0]], bits[near[:, 1]], sizes[close].sum(axis=1), threshold
    )
    return close
