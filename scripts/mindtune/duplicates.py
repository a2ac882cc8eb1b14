"""Near-duplicate dialogues: MinHash bands propose pairs, exact Jaccard similarity of character n-grams decides.

Time is that of sorting the dialogues once a band: no dialogue is compared with all others. The same rows in the
same order give the same pairs.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

from mindtune.cli import UserError

PERMUTATIONS = 126
SEED = 1  # of the MinHash permutations; it decides which pairs are missed, not which texts are similar
# How many distinct dialogues of one bucket a newcomer is compared with: bounds the work where thousands share a bucket.
REPRESENTATIVES = 8
_DROPPED = re.compile(r"[\s\W_]+")


def spoken_text(conversations: Iterable[dict[str, str]]) -> str:
    """What near-duplicates are compared by.

    The turns of client and counsellor without white space. System prompts repeat.
    """
    return re.sub(r"\s+", "", "\n".join(turn["value"] for turn in conversations if turn["from"] != "system"))


def level(text: str) -> str:
    """A text with width, case, spaces and punctuation levelled; what has nothing else stays as it is."""
    return _DROPPED.sub("", unicodedata.normalize("NFKC", text).lower()) or text


def first_turn_key(conversations: Iterable[dict[str, str]]) -> str:
    """The first client turn, levelled, as a short hash: what a split must not part."""
    text = next(turn["value"] for turn in conversations if turn["from"] == "human")
    return hashlib.sha256(level(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]


MIN_LINE_CHARS = 8  # shorter lines, such as `好的，我明白了。`, are nobody's own


def line_keys(lines: Iterable[str]) -> np.ndarray:
    """One uint64 key a line that has some length, with case, spaces and punctuation levelled."""
    levelled = (_DROPPED.sub("", line).lower() for line in lines)
    hashes = b"".join(
        hashlib.blake2b(line.encode(), digest_size=8).digest() for line in levelled if len(line) >= MIN_LINE_CHARS
    )
    return np.frombuffer(hashes, dtype=np.uint64)


def grams(text: str, size: int) -> set[str]:
    """The character n-grams of a text; a text shorter than n is its own only one."""
    return {text[start : start + size] for start in range(max(1, len(text) - size + 1))}


def jaccard(first: set[str], second: set[str]) -> float:
    """Shared n-grams over all n-grams."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def band_shape(threshold: float) -> tuple[int, int]:
    """(bands, rows) that propose a pair at the threshold with probability 0.95 or more: 1 - (1 - threshold^rows)^bands.

    Of those the one with the most rows, which proposes the fewest pairs that are not similar.
    """
    shapes = [(PERMUTATIONS // rows, rows) for rows in range(1, 17)]
    return [(bands, rows) for bands, rows in shapes if 1 - (1 - threshold**rows) ** bands >= 0.95][-1]


def band_keys(texts: Sequence[str], size: int, threshold: float) -> np.ndarray:
    """One uint64 key a text and band, shape (texts, bands); texts with an equal key in a band are candidates."""
    import rensa

    bands, rows = band_shape(threshold)
    hashes, offsets = gram_hashes(texts, size)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, bands * rows, SEED)
    digests = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(texts), bands, rows)
    return _mix(_fold(digests))


def _fold(values: np.ndarray) -> np.ndarray:
    """Polynomial hash over the last axis, modulo 2^64 (the multiplier is the odd 64-bit golden ratio)."""
    total = np.zeros(values.shape[:-1], dtype=np.uint64)
    for column in range(values.shape[-1]):
        total = total * np.uint64(0x9E3779B97F4A7C15) + values[..., column]
    return total


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: spreads every input bit over the word."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def gram_hashes(texts: Sequence[str], size: int) -> tuple[np.ndarray, list[int]]:
    """64-bit hashes of the n-grams of all texts in a row, and where each text's begin (with the end as last entry)."""
    pieces, offsets = [], [0]
    for text in texts:
        codes = np.frombuffer(text.ljust(size, "\0").encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        pieces.append(np.lib.stride_tricks.sliding_window_view(codes, size))
        offsets.append(offsets[-1] + len(pieces[-1]))
    return _mix(_fold(np.concatenate(pieces).astype(np.uint64))), offsets


def buckets(keys: np.ndarray) -> Iterator[list[int]]:
    """Groups of two or more rows that share a key in a band, rows ascending; the same group may come once a band."""
    for band in range(keys.shape[1]):
        column = keys[:, band]
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
        for start, end in zip(starts[:-1], starts[1:], strict=True):
            if end - start > 1:
                yield order[start:end].tolist()


def similar_pairs(
    keys: np.ndarray, text_of: Callable[[int], str], size: int, threshold: float
) -> list[tuple[int, int]]:
    """All proposed pairs (earlier, later) whose exact similarity reaches the threshold, sorted by the later row."""
    verdicts: dict[tuple[int, int], bool] = {}
    grams_of = lru_cache(maxsize=4096)(lambda row: grams(text_of(row), size))
    for bucket in buckets(keys):
        representatives: list[int] = []
        for row in bucket:
            for other in representatives:
                if (other, row) not in verdicts:
                    verdicts[other, row] = jaccard(grams_of(other), grams_of(row)) >= threshold
                if verdicts[other, row]:
                    break
            else:
                if len(representatives) < REPRESENTATIVES:
                    representatives.append(row)
    return sorted((pair for pair, similar in verdicts.items() if similar), key=lambda pair: (pair[1], pair[0]))


def copies_to_drop(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Row -> the kept earlier row that it repeats.

    The first copy stays, and no row goes for the sake of one that went.
    """
    dropped: dict[int, int] = {}
    for earlier, later in sorted(pairs, key=lambda pair: (pair[1], pair[0])):
        if earlier not in dropped:
            dropped.setdefault(later, earlier)
    return dropped


class Groups:
    """Union-find: what is joined, directly or through others, is one group, named by its smallest member."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def find(self, item: int) -> int:
        """The smallest member of the item's group."""
        root = item
        while self.parent[root] != root:
            root = self.parent[root]
        while self.parent[item] != root:
            self.parent[item], item = root, self.parent[item]
        return root

    def join(self, first: int, second: int) -> None:
        """Make one group of two."""
        first, second = self.find(first), self.find(second)
        self.parent[max(first, second)] = min(first, second)


def check_near_duplicates(settings: Mapping[str, float]) -> None:
    """The settings of a near-duplicate search: n-grams of 1 to 20 characters, a threshold that the bands can serve."""
    if set(settings) != {"ngram_chars", "threshold"}:
        raise UserError(
            f"near_duplicates: found the keys {', '.join(sorted(settings))}; expected ngram_chars and threshold"
        )
    if not (1 <= settings["ngram_chars"] <= 20 and 0.3 <= settings["threshold"] <= 1):
        raise UserError(
            f"near_duplicates: found {dict(settings)}; expected ngram_chars from 1 to 20 and threshold from 0.3 to 1"
        )
