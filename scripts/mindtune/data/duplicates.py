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
from mindtune.data.ngrams import fold, gram_hashes, grams, jaccard, mix

PERMUTATIONS = 126
SEED = (
    1  # of the MinHash permutations; it decides which pairs are missed, not which texts are similar
)
# How many distinct dialogues of one bucket a newcomer is compared with: bounds the work where
# thousands share a bucket.
REPRESENTATIVES = 8
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
    return mix(fold(digests[:, :, row] for row in range(rows)))


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
