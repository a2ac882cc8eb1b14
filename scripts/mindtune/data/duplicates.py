"""Near-duplicate dialogues: MinHash bands propose pairs, exact Jaccard similarity of character
n-grams decides.

Time is that of sorting the dialogues once a band: no dialogue is compared with all others. The
same rows in the same order give the same pairs.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain

import numpy as np

from mindtune.cli import UserError

PERMUTATIONS = 126
SEED = (
    1  # of the MinHash permutations; it decides which pairs are missed, not which texts are similar
)
# How many distinct dialogues of one bucket a newcomer is compared with: bounds the work where
# thousands share a bucket.
REPRESENTATIVES = 8
GRAM_BITS = 512
MAPPED_AT_ONCE = 10_000  # texts, each of which takes GRAM_BITS bytes meanwhile
_DROPPED = re.compile(r"[\s\W_]+")


def spoken_text(conversations: Iterable[dict[str, str]]) -> str:
    """What near-duplicates are compared by.

    The turns of client and counsellor without white space. System prompts repeat.
    """
    return re.sub(
        r"\s+", "", "\n".join(turn["value"] for turn in conversations if turn["from"] != "system")
    )


# What NFKC makes of the signs of Chinese text. A text without them is mostly NFKC already, which
# is fast to see.
NARROW = tuple((wide, unicodedata.normalize("NFKC", wide)) for wide in "，！？：；（）…～\u3000")


def level(text: str) -> str:
    """A text with width, case, spaces and punctuation levelled; what has nothing else stays as it
    is.
    """
    plain = text
    for wide, narrow in NARROW:
        plain = plain.replace(wide, narrow)
    return _DROPPED.sub("", unicodedata.normalize("NFKC", plain).lower()) or text


def first_turn_text(conversations: Iterable[dict[str, str]]) -> str:
    """The first client turn, levelled."""
    return level(next(turn["value"] for turn in conversations if turn["from"] == "human"))


def first_turn_key(text: str) -> str:
    """A levelled first turn as a short hash: what a split must not part."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


MIN_LINE_CHARS = 8  # shorter lines, such as `好的，我明白了。`, are nobody's own


def line_keys(lines: Iterable[str]) -> np.ndarray:
    """One uint64 key a line that has some length, with case, spaces and punctuation levelled."""
    levelled = (_DROPPED.sub("", line).lower() for line in lines)
    hashes = b"".join(
        hashlib.blake2b(line.encode(), digest_size=8).digest()
        for line in levelled
        if len(line) >= MIN_LINE_CHARS
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
    """(bands, rows) that propose a pair at the threshold with probability 0.95 or more: 1 - (1 -
    threshold^rows)^bands.

    Of those the one with the most rows, which proposes the fewest pairs that are not similar.
    """
    shapes = [(PERMUTATIONS // rows, rows) for rows in range(1, 17)]
    return [(bands, rows) for bands, rows in shapes if 1 - (1 - threshold**rows) ** bands >= 0.95][
        -1
    ]


def band_keys(texts: Sequence[str], size: int, threshold: float) -> np.ndarray:
    """One uint64 key a text and band, shape (texts, bands); texts with an equal key in a band are
    candidates.
    """
    import rensa

    bands, rows = band_shape(threshold)
    hashes, offsets = gram_hashes(texts, size)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        hashes, offsets, bands * rows, SEED
    )
    digests = np.fromiter(chain.from_iterable(matrix.to_rows()), dtype=np.uint64).reshape(
        len(texts), bands, rows
    )
    return mix(_fold(digests[:, :, row] for row in range(rows)))


def _fold(columns: Iterable[np.ndarray]) -> np.ndarray:
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
    hashes = mix(_fold(codes[start : start + count] for start in range(size)))[inside]
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


def buckets(keys: np.ndarray) -> Iterator[list[int]]:
    """Groups of two or more rows that share a key in a band, rows ascending; the same group may
    come once a band.
    """
    for band in range(keys.shape[1]):
        column = keys[:, band]
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
        several = np.flatnonzero(np.diff(starts) > 1)
        for start, end in zip(starts[several].tolist(), starts[several + 1].tolist(), strict=True):
            yield order[start:end].tolist()


def similar_pairs(
    keys: np.ndarray, text_of: Callable[[int], str], size: int, threshold: float
) -> list[tuple[int, int]]:
    """All proposed pairs (earlier, later) whose exact similarity reaches the threshold, sorted by
    the later row.
    """
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
    return sorted(
        (pair for pair, similar in verdicts.items() if similar), key=lambda pair: (pair[1], pair[0])
    )


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
    """Union-find: what is joined, directly or through others, is one group, named by its smallest
    member.
    """

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
    """The settings of a near-duplicate search: n-grams of 1 to 20 characters, a threshold that the
    bands can serve.
    """
    if set(settings) != {"ngram_chars", "threshold"}:
        raise UserError(
            f"near_duplicates: found the keys {', '.join(sorted(settings))}; expected ngram_chars "
            f"and threshold"
        )
    if not (1 <= settings["ngram_chars"] <= 20 and 0.3 <= settings["threshold"] <= 1):
        raise UserError(
            f"near_duplicates: found {dict(settings)}; expected ngram_chars from 1 to 20 and "
            f"threshold from 0.3 to 1"
        )
