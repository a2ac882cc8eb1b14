"""Groups of dialogues that belong on one side of a split, and their assignment to train, dev and
test.

Two dialogues are in one group when they share their first client turn or are near-duplicates,
directly or through others. A group's place in the draw is a hash of the seed and of its own key,
so that a dialogue more or less moves hardly any other.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mindtune.cli import UserError
from mindtune.data.duplicates import Groups

SIDES = ("train", "dev", "test")


@dataclass(frozen=True)
class Group:
    """Dialogues (row numbers) that stay together. `key` is the smallest first-turn key among
    them.
    """

    key: str
    source: str
    rows: tuple[int, ...]

    def place(self, seed: int) -> str:
        """Where the group stands in the draw."""
        return hashlib.sha256(f"{seed}\0{self.key}".encode()).hexdigest()


def group_dialogues(
    keys: Sequence[str], sources: Sequence[str], pairs: Iterable[tuple[int, int]]
) -> list[Group]:
    """Groups from first-turn keys and near-duplicate pairs; a group belongs to the source of its
    first dialogue.
    """
    union = Groups(len(keys))
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        union.join(first.setdefault(key, row), row)
    for earlier, later in pairs:
        union.join(earlier, later)
    members: dict[int, list[int]] = defaultdict(list)
    for row in range(len(keys)):
        members[union.find(row)].append(row)
    return [
        Group(min(keys[row] for row in rows), sources[root], tuple(rows))
        for root, rows in members.items()
    ]


def targets(sizes: Mapping[str, int], share: float) -> dict[str, int]:
    """Dialogues wanted from each source: their sum is the rounded share of all, each within one of
    its own share.
    """
    wanted, before, through = {}, 0, 0
    for source in sorted(sizes):
        through += sizes[source]
        wanted[source] = round(through * share) - before
        before += wanted[source]
    return wanted


def assign(
    groups: Sequence[Group], seed: int, dev_share: float, test_share: float
) -> dict[str, str]:
    """Group key -> side. Shares count dialogues; each side gets at least one group.

    Groups are drawn in hash order and taken while they fit what is still wanted, first of their
    own source, then of all; a group too large to fit stays in train.
    """
    if len(groups) < len(SIDES):
        raise UserError(
            f"the dialogues form {len(groups)} group(s) of shared first client turns and "
            f"near-duplicates; train, dev and test "
            f"need {len(SIDES)} at least: add dialogues, or look in rejected.jsonl for what was "
            f"dropped"
        )
    drawn = sorted(groups, key=lambda group: group.place(seed))
    sizes: Counter[str] = Counter()
    for group in groups:
        sizes[group.source] += len(group.rows)
    side_of: dict[str, str] = {}
    for left_for_others, side, share in ((2, "test", test_share), (1, "dev", dev_share)):
        limit = len(groups) - left_for_others
        wanted = targets(sizes, share)
        _draw(drawn, side_of, side, limit, wanted, lambda group: group.source)
        _draw(drawn, side_of, side, limit, {"": sum(wanted.values())}, lambda group: "")
        if side not in side_of.values():
            spare = [group for group in drawn if group.key not in side_of]
            side_of[min(spare, key=lambda group: len(group.rows)).key] = side
    return {group.key: side_of.get(group.key, "train") for group in groups}


def _draw(
    drawn: Sequence[Group],
    side_of: dict[str, str],
    side: str,
    limit: int,
    wanted: dict[str, int],
    pot: Callable[[Group], str],
) -> None:
    """Put groups on a side while they fit what their pot still wants.

    `limit` groups at most may be taken from train.
    """
    for group in drawn:
        if (
            group.key not in side_of
            and len(group.rows) <= wanted[pot(group)]
            and len(side_of) < limit
        ):
            side_of[group.key] = side
            wanted[pot(group)] -= len(group.rows)


def shared(sides: Mapping[str, Iterable[str]]) -> int:
    """How many of the given names (of groups, of first turns) occur on more than one side."""
    where: dict[str, set[str]] = defaultdict(set)
    for side, names in sides.items():
        for name in names:
            where[name].add(side)
    return sum(len(found) > 1 for found in where.values())
