"""What the record of the cleaning says, counted from the ledger when it is finished."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mindtune.data import census, selection
from mindtune.data.cleaning import MASKS, POLICY, REJECTIONS, REQUIRED
from mindtune.data.ledger import FIXES, Ledger

LISTED_CLUSTERS, LISTED_LINES = 50, 20  # the largest ones that the record names


def quantiles(values: Sequence[int] | np.ndarray) -> dict[str, float | int]:
    """Size, sum and percentiles of a list of counts."""
    if not len(values):
        return {"n": 0, "sum": 0}
    points = np.percentile(np.asarray(values), (0, 5, 25, 50, 75, 95, 99, 100), method="lower")
    names = ("min", "p5", "p25", "p50", "p75", "p95", "p99", "max")
    return {"n": len(values), "sum": int(np.sum(values))} | {
        name: int(point) for name, point in zip(names, points, strict=True)
    }


def _fixes(ledger: Ledger, rows: np.ndarray) -> dict[str, int]:
    masks = np.array(ledger.fixes, dtype=np.uint64)[rows]
    return {
        name: int(np.count_nonzero(masks & np.uint64(1 << bit))) for bit, name in enumerate(FIXES)
    }


def _present(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in counts.items() if value}


def _clusters(ledger: Ledger) -> dict[str, Any]:
    """Near-duplicate clusters: how many of which size, and the largest by their ids."""
    sizes = Counter(1 + len(rows) for rows in ledger.clusters.values())
    largest = sorted(ledger.clusters.items(), key=lambda item: (-len(item[1]), item[0]))[
        :LISTED_CLUSTERS
    ]

    def name(index: int) -> str:
        return ledger.dialogues(index)[0]["id"]

    return {
        "clusters": len(ledger.clusters),
        "by_size": {str(size): sizes[size] for size in sorted(sizes)},
        "largest": [
            {"kept": name(first), "dropped": [name(row) for row in rows[:20]]}
            for first, rows in largest
        ],
    }


def _lines(ledger: Ledger) -> dict[str, Any]:
    """Counsellors' lines in the kept dialogues: how many, how many said again, and where the most
    frequent ones stand.
    """
    keys, rows = ledger.lines(set(range(len(ledger.parts))) - set(ledger.chosen))
    different = len(np.unique(keys))
    return {
        "lines": len(keys),
        "different": different,
        "said_again": len(keys) - different,
        "most": [
            {"first": ledger.dialogues(row)[0]["id"], "times": times}
            for row, times in selection.most_repeated(keys, rows, LISTED_LINES)
        ],
    }


def _topics(ledger: Ledger) -> dict[str, int]:
    """Kept rows by each pattern that only counts; those that none counts are the rest."""
    names = [spec["name"] for spec in ledger.settings["patterns"] if spec.get("do") == "count"]
    found = [ledger.topics.get(index, []) for index in ledger.chosen]
    counts = Counter(name for topics in found for name in topics)
    rest = {"of none": sum(not topics for topics in found)} if names else {}
    return {name: counts[name] for name in names} | rest


def _files(ledger: Ledger, chosen: np.ndarray) -> dict[str, Any]:
    """What was found in each file, and what of it was kept."""
    flags = np.frombuffer(bytes(ledger.census), dtype=np.uint8)
    parts, file_of = np.array(ledger.parts, np.int64), np.array(ledger.file_of, dtype=np.int64)
    tokens = np.array(ledger.tokens, dtype=np.int64)
    tokens_of = np.bincount(np.repeat(np.arange(len(parts)), parts), tokens, len(parts)).astype(
        np.int64
    )
    facts = {}
    for number, (name, file) in enumerate(ledger.files.items()):
        rows = chosen[file_of[chosen] == number]
        facts[name] = {
            "form": file.form,
            "read": file.read,
            "kept": len(rows),
            "tokens": int(tokens_of[rows].sum()),
            "rejected_by_reason": dict(file.rejected),
            "noticed": dict(file.noticed),
            "fixes_by_step": _present(_fixes(ledger, rows)),
            "census": census.count(flags[rows]),
        }
    return facts


def make_facts(ledger: Ledger) -> dict[str, Any]:
    """The record's facts; every row is in them once."""
    files, chosen = ledger.files, np.array(ledger.chosen, dtype=np.int64)
    rejected = sum((file.rejected for file in files.values()), Counter())
    flags = np.frombuffer(bytes(ledger.census), dtype=np.uint8)[chosen]
    parts = np.array(ledger.parts, np.int64)
    stays = np.repeat(np.isin(np.arange(len(parts)), chosen), parts)  # of each dialogue
    masked = sum(
        (ledger.masked[index] for index in ledger.chosen if index in ledger.masked), Counter()
    )
    facts: dict[str, Any] = {
        "read": sum(file.read for file in files.values()),
        "kept": len(chosen),
        "rejected": rejected.total(),
        "dialogues": int(parts[chosen].sum()) if len(chosen) else 0,
        "rejected_by_reason": {name: rejected[name] for name in (*REQUIRED, *REJECTIONS, *POLICY)},
        "fixes_by_step": _fixes(ledger, chosen),
        "masked_by_step": {name: masked[name] for name in MASKS},
        "tokens": quantiles(np.array(ledger.tokens, np.int64)[stays]),
        "turns": quantiles(np.array(ledger.turns, np.int64)[stays]),
        "census": census.count(flags),
        "numbers_to_look_at": sum(len(ledger.numbers.get(index, ())) for index in ledger.chosen),
        "patterns": dict(sorted(ledger.patterns.items())),
        "topics": _topics(ledger),
        "near_duplicates": _clusters(ledger),
        "counsellor_lines": _lines(ledger),
        "files": _files(ledger, chosen),
    }
    assert facts["kept"] + facts["rejected"] == facts["read"], "a row was lost"
    assert facts["tokens"]["n"] == facts["dialogues"], "a dialogue was lost"
    return facts
