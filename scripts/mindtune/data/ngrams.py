"""Character n-grams of texts: as sets, as hashes, as bit maps, and how alike two texts are by
them.
"""

from collections.abc import Iterable, Sequence

import numpy as np

GRAM_BITS = 512
MAPPED_AT_ONCE = 10_000  # texts, each of which takes GRAM_BITS bytes meanwhile


def grams(text: str, size: int) -> set[str]:
    """The character n-grams of a text; a text shorter than n is its own only one."""
    return {text[start : start + size] for start in range(max(1, len(text) - size + 1))}


def jaccard(first: set[str], second: set[str]) -> float:
    """Shared n-grams over all n-grams."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def fold(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Polynomial hash over columns of equal shape, modulo 2^64 (the multiplier is the odd 64-bit
    golden ratio).
    """
    columns = iter(columns)
    total = next(columns).copy()
    for column in columns:
        total *= np.uint64(0x9E3779B97F4A7C15)
        total += column
    return total


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: spreads every input bit over the word."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def gram_hashes(texts: Sequence[str], size: int) -> tuple[np.ndarray, list[int]]:
    """64-bit hashes of the n-grams of all texts in a row, and where each text's begin (with the
    end as last entry).

    The texts are hashed as one, and the n-grams that reach from one text into the next are left
    out.
    """
    padded = [text if len(text) >= size else text.ljust(size, "\0") for text in texts]
    ends = np.cumsum([len(text) for text in padded], dtype=np.int64)
    codes = np.frombuffer(
        "".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32
    ).astype(np.uint64)
    count = max(0, len(codes) - size + 1)
    inside = np.ones(count, dtype=bool)
    inside[(ends[:-1, None] - np.arange(1, size)).ravel()] = False
    hashes = mix(fold(codes[start : start + count] for start in range(size)))[inside]
    return hashes, [0, *(ends - (size - 1) * np.arange(1, len(ends) + 1)).tolist()]


def gram_bits(texts: Sequence[str], size: int) -> np.ndarray:
    """The bit map of each text's n-grams."""
    hashes, offsets = gram_hashes(texts, size)
    return bit_maps(hashes, np.array(offsets))


def bit_maps(hashes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """A bit map of each text's n-grams, shape (texts, GRAM_BITS / 64) of uint64; the hashes of
    text i are those from offsets[i] to offsets[i + 1].

    An n-gram that only one of two texts has makes at most one bit differ: `may_be_similar` builds
    on it.
    """
    maps = np.zeros((len(offsets) - 1, GRAM_BITS // 64), dtype=np.uint64)
    for start in range(0, len(maps), MAPPED_AT_ONCE):
        ends = offsets[start : start + MAPPED_AT_ONCE + 1]
        bits = np.zeros((len(ends) - 1, GRAM_BITS), dtype=bool)
        bit = hashes[ends[0] : ends[-1]] % np.uint64(GRAM_BITS)
        bits[np.repeat(np.arange(len(bits)), np.diff(ends)), bit] = True
        maps[start : start + MAPPED_AT_ONCE] = np.packbits(bits, axis=1).view(np.uint64)
    return maps


def may_be_similar(
    first: np.ndarray, second: np.ndarray, grams_of_both: np.ndarray, threshold: float
) -> np.ndarray:
    """False for pairs of bit maps whose texts cannot reach a Jaccard similarity; `grams_of_both`
    is at least the sum of their different n-grams. For a sum s and d n-grams that only one has,
    the similarity is (s - d) / (s + d).
    """
    apart = np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64)
    return apart * (1 + threshold) <= grams_of_both * (1 - threshold) + 1e-6
