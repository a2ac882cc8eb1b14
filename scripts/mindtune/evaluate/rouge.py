"""ROUGE-1, ROUGE-2 and ROUGE-L of one reply, equal to rouge-score's to the last digit.

rouge-score's own tokenizer keeps only a-z and 0-9, so that identical Chinese scores 0, and its
table for the longest common subsequence takes most of its time. Here tokens are given, and the
table is one whole number whose bits are its rows.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

# rouge-score's version that the tests compare with.
VERSION = "0.1.2"


def lcs_length(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, by Hyyrö's bits (2004, "Bit-parallel LCS-length
    computation revisited"): one addition for each token of `second`.
    """
    places: dict[Hashable, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for token in second:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(first) - row.bit_count()


def f_measure(matches: int, reply: int, reference: int) -> float:
    """F1 of matched, reply and reference counts, in rouge-score's order of operations."""
    precision, recall = matches / max(reply, 1), matches / max(reference, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def rouge(reply: Sequence[str], reference: Sequence[str]) -> tuple[float, float, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L F measures (0 to 1) of tokens."""
    found = []
    for one, other in ((reply, reference), (list(pairwise(reply)), list(pairwise(reference)))):
        matches = (Counter(one) & Counter(other)).total()
        found.append(f_measure(matches, len(one), len(other)))
    longest = lcs_length(reference, reply)
    return found[0], found[1], f_measure(longest, len(reply), len(reference))
