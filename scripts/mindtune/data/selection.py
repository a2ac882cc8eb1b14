"""Which kept dialogues must go when all are known: lines said too often, sources beyond their
share.

Every function takes dialogues by number in reading order, and the same dialogues give the same
answer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import numpy as np

from mindtune.cli import UserError


def over_cap(keys: np.ndarray, rows: np.ndarray, cap: int) -> set[int]:
    """Dialogues with a counsellor's line that `cap` earlier dialogues already have.

    `keys` and `rows` are a line's key and dialogue, in reading order; a line twice in one dialogue
    counts once.
    """
    pairs = (
        np.unique(np.stack([keys, rows.astype(np.uint64)], axis=1), axis=0)
        if len(keys)
        else np.zeros((0, 2))
    )
    starts = (
        np.concatenate(([True], pairs[1:, 0] != pairs[:-1, 0])) if len(pairs) else np.zeros(0, bool)
    )
    rank = np.arange(len(pairs)) - np.maximum.accumulate(np.where(starts, np.arange(len(pairs)), 0))
    return set(pairs[rank >= cap, 1].astype(np.int64).tolist())


def most_repeated(keys: np.ndarray, rows: np.ndarray, count: int) -> list[tuple[int, int]]:
    """(first dialogue, times) of the lines said most often, more than once, most often first."""
    _, first, times = np.unique(keys, return_index=True, return_counts=True)
    order = np.lexsort((first, -times))[:count]
    return [(int(rows[first[index]]), int(times[index])) for index in order if times[index] > 1]


def entry_of(file: str, sources: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The entry (a file name or a pattern such as `part-*.jsonl`) that speaks of a file: the first
    that fits.
    """
    return next((pattern for pattern in sources if fnmatch(file, pattern)), None)


def wanted(sizes: Mapping[str, int], sources: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many dialogues each source entry may keep.

    Limits come first. Then weights: among the entries that have one, the largest mix that keeps
    their ratio and repeats no dialogue. A source without an entry keeps all.
    """
    chosen = {name: min(size, sources[name].get("limit") or size) for name, size in sizes.items()}
    weighed = {name: weight for name in sizes if (weight := sources[name].get("weight"))}
    if len(weighed) > 1:
        unit = min(chosen[name] / weight for name, weight in weighed.items())
        chosen |= {name: int(round(unit * weight, 6)) for name, weight in weighed.items()}
    return chosen


def over_share(
    files: Sequence[str], ids: Sequence[str], sources: Mapping[str, Mapping[str, Any]]
) -> set[int]:
    """Dialogues (numbers into `files` and `ids`) beyond their source's share; which stay is drawn
    by a hash of the id.
    """
    members: dict[str, list[int]] = {}
    entries = {file: entry_of(file, sources) for file in set(files)}
    for number, file in enumerate(files):
        if (entry := entries[file]) is not None:
            members.setdefault(entry, []).append(number)
    keep = wanted({entry: len(numbers) for entry, numbers in members.items()}, sources)
    gone: set[int] = set()
    for entry, numbers in members.items():
        drawn = sorted(numbers, key=lambda number: hashlib.sha256(ids[number].encode()).digest())
        gone.update(drawn[keep[entry] :])
    return gone


def check_sources(sources: Mapping[str, Mapping[str, Any]], files: Sequence[str]) -> None:
    """Every entry speaks of a file that is there."""
    for pattern in sources:
        if not any(fnmatch(file, pattern) for file in files):
            raise UserError(
                f"data.clean.sources names {pattern!r}, which fits none of the files "
                f"{', '.join(files)}; correct or remove it"
            )
