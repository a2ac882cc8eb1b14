"""What of the near-duplicates and copies that were planted in a corpus was found, and what of all
pairs of real dialogues that comparing all with all finds.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from bench.measuring import head
from mindtune.data.contamination import LONG
from mindtune.data.duplicates import (
    Groups,
    band_keys,
    first_turn_text,
    level,
    similar_pairs,
    spoken_text,
)
from mindtune.data.first_turns import SIMILARITY, similar_turns
from mindtune.data.grouping import find_groups
from mindtune.data.lines import Lines
from mindtune.data.ngrams import gram_hashes, grams, jaccard
from mindtune.records import read_json

THRESHOLD, NEAR = 0.8, {"ngram_chars": 5, "threshold": 0.6}


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file."""
    with path.open("rb") as stream:
        yield from map(orjson.loads, stream)


def planted(corpus: Path) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """({copy: original}, the pairs that are similar enough to be found)."""
    with corpus.open("rb") as stream:
        copies = {
            row["id"]: row["copy_of"] for row in map(orjson.loads, stream) if "copy_of" in row
        }
        members = {*copies, *copies.values()}
        stream.seek(0)
        spoken = {
            row["id"]: spoken_text(row["conversations"])
            for row in map(orjson.loads, stream)
            if row["id"] in members
        }
    pairs = {
        (copy, original)
        for copy, original in copies.items()
        if jaccard(grams(spoken[copy], 5), grams(spoken[original], 5)) >= THRESHOLD
    }
    return copies, pairs


def quality(
    removed: set[str], present: set[str], copies: dict[str, str], pairs: set[tuple[str, str]]
) -> dict[str, float]:
    """Recall over similar planted pairs of rows that were looked at; precision: removed rows that
    belong to a planted pair.
    """
    looked_at = [pair for pair in pairs if set(pair) <= present]
    found = sum(bool(removed & set(pair)) for pair in looked_at)
    members = set(copies) | set(copies.values())
    return {
        "recall": round(found / max(1, len(looked_at)), 4),
        "precision": round(len(removed & members) / max(1, len(removed)), 4),
    }


def near_dialogues(corpus: Path, out: Path) -> dict[str, float]:
    """Recall and precision of near-duplicate dialogues among the rejected rows."""
    rejected = list(rows_of(out / "rejected.jsonl"))
    near = {row["id"] for row in rejected if row["reasons"][0] == "near_duplicate"}
    others = {row["id"] for row in rejected} - near
    copies, pairs = planted(corpus)
    present = {row["id"] for row in rows_of(corpus)} - others
    return quality(near, present, copies, pairs)


def near_first_turns(corpus: Path, out: Path) -> dict[str, float]:
    """Planted first turns that are nearly an earlier one's: recall, how many share its group;
    precision, pairs found that are as similar by their own n-grams. Of a large corpus some pairs
    are so by chance; how many of all were planted stands beside it.
    """
    turns = {
        row["id"]: first_turn_text(row["conversations"]) for row in rows_of(out / "clean.jsonl")
    }
    pairs = [
        (row["id"], original)
        for row in rows_of(corpus)
        if (original := row.get("first_turn_of")) in turns and row["id"] in turns
        and jaccard(grams(turns[row["id"]], 5), grams(turns[original], 5)) >= SIMILARITY
    ]  # fmt: skip
    grouped = find_groups(Lines(out / "clean.jsonl"), NEAR, 1)
    group_of = {
        grouped.ids[row]: number
        for number, group in enumerate(grouped.groups)
        for row in group.rows
    }
    edited = {row["id"] for row in rows_of(corpus) if "first_turn_of" in row or "copy_of" in row}
    made = {turns[identity] for identity in edited if identity in turns}
    texts = [
        (turns[grouped.ids[first]], turns[grouped.ids[second]])
        for first, second in grouped.first_turns
    ]
    right = sum(jaccard(*(grams(text, 5) for text in pair)) >= SIMILARITY for pair in texts)
    of_planted = sum(not made.isdisjoint(pair) for pair in texts)
    found = sum(group_of[copy] == group_of[original] for copy, original in pairs)
    return {
        "first_turns_planted": len(pairs),
        "first_turn_recall": round(found / max(1, len(pairs)), 4),
        "first_turn_precision": round(right / max(1, len(texts)), 4),
        "first_turn_pairs_planted": round(of_planted / max(1, len(texts)), 4),
    }


def held_out_replies(corpus: Path, out: Path) -> dict[str, float]:
    """Planted copies of replies of the dev and test sides: recall in the training side; and what
    was left out beyond everything that was planted.
    """
    side_of = {
        row["id"]: side
        for side in ("train", "dev", "test")
        for row in rows_of(out / f"{side}.jsonl")
    }
    hits = {
        row["id"]: row["held_out"].rpartition("#")[0]
        for row in rows_of(out / "contamination.jsonl")
    }
    related, replies = set(), {}
    for row in rows_of(corpus):
        replies[row["id"]] = row["conversations"][1]["value"]
        for label in ("copy_of", "first_turn_of", "reply_of"):
            if label in row:
                related |= {(row["id"], row[label]), (row[label], row["id"])}
    wanted = [
        row["id"]
        for row in rows_of(corpus)
        if side_of.get(row.get("reply_of")) in ("dev", "test")
        and (side_of.get(row["id"]) == "train" or row["id"] in hits)
        and len(level(replies[row["reply_of"]])) >= LONG
    ]
    removed = read_json(out / "split.json")["facts"]["contamination"]["removed"]
    beyond = sum(pair not in related for pair in hits.items())
    return {
        "left_out_for_held_out_texts": removed,
        "copied_replies": len(wanted),
        "copied_reply_recall": round(sum(name in hits for name in wanted) / max(1, len(wanted)), 4),
        "dropped_beyond_planted": round(beyond / len(replies), 5),
    }


def all_pairs(texts: Sequence[str], threshold: float) -> set[tuple[int, int]]:
    """Pairs of texts by comparing each with all that share any n-gram with it."""
    holders: dict[str, list[int]] = {}
    sets, found = [grams(text, 5) for text in texts], set()
    for later, own in enumerate(sets):
        shared = Counter(earlier for gram in own for earlier in holders.get(gram, ()))
        for earlier, count in shared.items():
            if count >= threshold * (len(own) + len(sets[earlier]) - count):
                found.add((earlier, later))
        for gram in own:
            holders.setdefault(gram, []).append(later)
    return found


def connected(count: int, pairs: set[tuple[int, int]]) -> Callable[[int], int]:
    """The name of a text's group."""
    groups = Groups(count)
    for first, second in pairs:
        groups.join(first, second)
    return groups.find


def measure_real(files: Sequence[Path]) -> dict[str, Any]:
    """Our two searches against all pairs, on real dialogues. A pair counts as found if the two are
    in one group, directly or through others.
    """
    dialogues = [row["conversations"] for file in files for row in rows_of(file)]
    dialogues = [turns for turns in dialogues if any(turn["from"] == "human" for turn in turns)]
    spoken = [spoken_text(turns) for turns in dialogues]
    first = [
        level(turn["value"]) for turns in dialogues for turn in turns if turn["from"] == "human"
    ]
    first = [text for text in dict.fromkeys(first) if text]
    hashes, offsets = gram_hashes(first, 5)
    sizes = np.diff(offsets)
    runs = []
    for what, texts, threshold, ours in (
        ("dialogues", spoken, 0.6, similar_pairs(band_keys(spoken, 5, 0.6), spoken.__getitem__, 5,
            0.6)),
        ("dialogues", spoken, 0.8, similar_pairs(band_keys(spoken, 5, 0.8), spoken.__getitem__, 5,
            0.8)),
        ("client turns", first, SIMILARITY, similar_turns(hashes, sizes, SIMILARITY).tolist()),
    ):  # fmt: skip
        all_of, ours = all_pairs(texts, threshold), {tuple(pair) for pair in ours}
        group = connected(len(texts), ours)
        found = sum(group(one) == group(other) for one, other in all_of)
        runs.append({
            "what": what, "n": len(texts), "threshold": threshold, "pairs": len(all_of),
            "recall": round(found / max(1, len(all_of)), 4),
            "precision": round(len(ours & all_of) / max(1, len(ours)), 4),
        })  # fmt: skip
    met = all(row["recall"] >= 0.95 and row["precision"] >= 0.99 for row in runs)
    return {
        **head("Leaks: our searches against comparing all with "
"all", "make bench-data PARTS=leaks", ["rensa"]),
        "runs": runs, "target": {"recall": 0.95, "precision": 0.99}, "met": met,
        "note": "Real dialogues, two public sets. Client turns stand in for first turns, of which "
"there are too few that are alike.",
    }  # fmt: skip
