"""The three sides of a split as files, and the proof, from the files as they were written, that
nothing is on two of them.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from mindtune.data.duplicates import first_turn_key, first_turn_text
from mindtune.data.grouping import Grouped, source_file
from mindtune.data.lines import Lines
from mindtune.data.splitting import Group, shared
from mindtune.processes import in_order
from mindtune.records import partial as partial_file


def sides_of_rows(
    groups: list[Group], side_of_group: dict[str, str], count: int
) -> list[str | None]:
    """The side of each row."""
    side_of: list[str | None] = [None] * count
    for group in groups:
        for row in group.rows:
            side_of[row] = side_of_group[group.key]
    return side_of


def write_sides(lines: Lines, side_of: Sequence[str | None], paths: dict[str, Path]) -> None:
    """Copy every line to its side; a row without a side is left out."""
    with ExitStack() as stack:
        temporary = {side: stack.enter_context(partial_file(path)) for side, path in paths.items()}
        outputs = {side: stack.enter_context(path.open("wb")) for side, path in temporary.items()}
        for number, side in enumerate(side_of):
            if side is not None:
                outputs[side].write(lines.raw(number))


def marks_of(files: dict[str, Lines], piece: tuple[str, range]) -> list[tuple[str, str, str]]:
    """(id, source file, first turn) of the rows of a piece of a side."""
    rows = (files[piece[0]].row(number) for number in piece[1])
    return [
        (row["id"], source_file(row), first_turn_key(first_turn_text(row["conversations"])))
        for row in rows
    ]


def parted(pairs: Sequence[tuple[int, int]], side_of: Sequence[str | None]) -> int:
    """How many pairs of rows that should stay together are on two sides."""
    sides = ((side_of[first], side_of[second]) for first, second in pairs)
    return sum(None not in pair and pair[0] != pair[1] for pair in sides)


def make_facts(
    grouped: Grouped, paths: dict[str, Path], hits: list[dict[str, Any]], threads: int
) -> dict[str, Any]:
    """Counts from the files as they were written: what is on two sides, and hits that are left in
    train.
    """
    row_of = {identity: row for row, identity in enumerate(grouped.ids)}
    group_of = {row: number for number, group in enumerate(grouped.groups) for row in group.rows}
    hit_ids = {hit["id"] for hit in hits}
    sources, names, first_turns = ({side: kind() for side in paths} for kind in (Counter, set, set))
    left, files = 0, {side: Lines(path) for side, path in paths.items()}
    side_of: list[str | None] = [None] * len(grouped.ids)
    pieces = ((side, piece) for side, lines in files.items() for piece in lines.pieces())
    for (side, _), marks in in_order(lambda: partial(marks_of, files), pieces, threads):
        for identity, source, first_turn in marks:
            row = row_of[identity]
            side_of[row] = side
            sources[side][source] += 1
            names[side].add(group_of[row])
            first_turns[side].add(first_turn)
            left += side == "train" and identity in hit_ids
    return {
        "dialogues": {side: found.total() for side, found in sources.items()},
        "dialogues_by_source": {side: dict(found) for side, found in sources.items()},
        "groups": {side: len(found) for side, found in names.items()},
        "groups_of_many": sum(len(group.rows) > 1 for group in grouped.groups),
        "largest_group": max(len(group.rows) for group in grouped.groups),
        "near_duplicate_pairs": len(grouped.dialogues),
        "near_first_turn_pairs": len(grouped.first_turns),
        "shared_groups": shared(names),
        "shared_first_turns": shared(first_turns),
        "shared_near_duplicates": parted(grouped.near_duplicates(), side_of),
        "contaminated_in_train": left,
        "read": len(grouped.ids),
    }


def prove(facts: dict[str, Any], left_out: int = 0) -> None:
    """No leak, and no dialogue lost but those that were left out by intent."""
    contamination = facts["contamination"]
    if (
        facts["shared_groups"]
        or facts["shared_first_turns"]
        or facts["shared_near_duplicates"]
        or sum(facts["dialogues"].values()) + contamination["removed"] + left_out != facts["read"]
        or facts["contaminated_in_train"]
        != contamination["dialogues_hit"] - contamination["removed"]
    ):
        raise AssertionError(f"the split leaks or loses dialogues: {facts}")
