"""Several split data sets laid together: every dialogue keeps the side that it has in its own set,
so that a run on a mixture is tested on what a run on one of its sets is tested on.

What the sets have in common is left out where it does least harm: copies across them, and whatever
would stand on two sides.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from mindtune.data.duplicates import copies_to_drop, spoken_text
from mindtune.data.grouping import Grouped
from mindtune.data.lines import Lines
from mindtune.data.ngrams import grams, jaccard
from mindtune.data.splitting import SIDES
from mindtune.mixture import JOIN, id_in

# A dialogue of the test or dev side is worth this many of training: a greeting that begins one test
# dialogue and a thousand training dialogues costs the one
WORTH = 10
SideOf = list[str | None]


def gather(parts: Mapping[str, Mapping[str, Path]], target: Path) -> tuple[list[str], SideOf]:
    """Write the rows of all sides of all sets ({set: {side: file}}) to one file, their ids after
    their set's name; return the set and the side of each row.
    """
    set_of: list[str] = []
    side_of: SideOf = []
    folder = JOIN.join(parts)
    with target.open("wb") as stream:
        for name, files in parts.items():
            for side in SIDES:
                for row in _rows(files[side]):
                    row["id"] = id_in(folder, name, row["id"])
                    stream.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
                    set_of.append(name)
                    side_of.append(side)
    return set_of, side_of


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    lines = Lines(path)
    return (lines.row(number) for number in range(len(lines)))


def leaks(grouped: Grouped, side_of: Sequence[str | None]) -> dict[int, int]:
    """{row to leave out: a row that stays} of groups that stand on several sides.

    The training side gives way, unless it would lose more than WORTH dialogues for each of the
    others; dev gives way to test.
    """
    gone: dict[int, int] = {}
    for group in grouped.groups:
        by_side = {side: [row for row in group.rows if side_of[row] == side] for side in SIDES}
        held_out = len(by_side["dev"]) + len(by_side["test"])
        order = ("test", "dev", "train")
        if len(by_side["train"]) > WORTH * held_out:
            order = ("train", "test", "dev")
        stays = next(by_side[side] for side in order if by_side[side])
        gone |= {row: stays[0] for row in group.rows if side_of[row] != side_of[stays[0]]}
    return gone


def copies(
    lines: Lines, grouped: Grouped, side_of: Sequence[str | None], near: Mapping[str, Any]
) -> dict[int, int]:
    """{row to leave out: the earlier row that it repeats} of near-duplicates on one side, by the
    threshold of the cleaning.
    """

    def similarity(*rows: int) -> float:
        return jaccard(*(
            grams(spoken_text(lines.row(row)["conversations"]), near["ngram_chars"]) for row in rows
        ))  # fmt: skip

    together = [
        pair
        for pair in grouped.dialogues
        if side_of[pair[0]] is not None and side_of[pair[0]] == side_of[pair[1]]
    ]
    return copies_to_drop(pair for pair in together if similarity(*pair) >= near["threshold"])


def left_out(
    lines: Lines, gone: Mapping[str, Mapping[int, int]], hits: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """One entry for every row that is in no side: its id, why, and the row or text for which it
    went. `gone` is {reason: {row: row that stays}}.
    """
    entries = {
        row: {"id": lines.row(row)["id"], "reason": reason, "for": lines.row(stays)["id"]}
        for reason, rows in gone.items()
        for row, stays in rows.items()
    }
    for hit in hits:
        entries.setdefault(
            hit["row"], {"id": hit["id"], "reason": "held_out_text", "for": hit["held_out"]}
        )
    return [entries[row] for row in sorted(entries)]


def count_sets(
    set_of: Sequence[str], before: Sequence[str | None], after: Sequence[str | None]
) -> dict[str, dict[str, Any]]:
    """What each set gives: dialogues by side, and how many of them were left out."""
    facts: dict[str, dict[str, Any]] = {
        name: {"dialogues": dict.fromkeys(SIDES, 0), "left_out": 0} for name in set_of
    }
    for name, was, side in zip(set_of, before, after, strict=True):
        if side is None:
            facts[name]["left_out"] += was is not None
        else:
            facts[name]["dialogues"][side] += 1
    return facts
