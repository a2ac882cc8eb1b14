"""Splitting: no group on two sides, shares by dialogues, hardly any move when a dialogue is
added.
"""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data.splitting import Group, assign, group_dialogues, shared, targets


def singles(count, source="甲.jsonl"):
    return [Group(f"{index:04d}", source, (index,)) for index in range(count)]


def dialogues_of(groups, sides):
    counts = Counter()
    for group in groups:
        counts[sides[group.key]] += len(group.rows)
    return counts


def test_shares_are_met_exactly_by_single_dialogues():
    groups = singles(1000)
    assert dialogues_of(groups, assign(groups, 42, 0.05, 0.1)) == {
        "train": 850,
        "dev": 50,
        "test": 100,
    }


def test_shares_are_met_in_every_source():
    groups = singles(400) + [Group(f"b{index}", "乙.jsonl", (400 + index,)) for index in range(100)]
    sides = assign(groups, 1, 0.1, 0.2)
    assert Counter((group.source, sides[group.key]) for group in groups)["乙.jsonl", "test"] == 20
    assert targets({"a": 5, "b": 5, "c": 5, "d": 5}, 0.1) == {"a": 0, "b": 1, "c": 1, "d": 0}
    assert sum(targets({"a": 5, "b": 5, "c": 5, "d": 5}, 0.1).values()) == 2


def test_a_large_group_does_not_swallow_a_side():
    groups = [Group("big", "甲", tuple(range(500)))] + singles(500)
    sides = assign(groups, 3, 0.05, 0.1)
    assert sides["big"] == "train"
    assert dialogues_of(groups, sides)["test"] == 100


def test_one_more_dialogue_moves_hardly_any():
    groups = singles(1000)
    before, after = (
        assign(groups, 42, 0.05, 0.1),
        assign([*groups, Group("new", "甲.jsonl", (1000,))], 42, 0.05, 0.1),
    )
    assert sum(before[key] != after[key] for key in before) <= 3


def test_seeds_differ_and_repeat():
    groups = singles(200)
    assert assign(groups, 1, 0.1, 0.1) == assign(groups[::-1], 1, 0.1, 0.1)
    assert assign(groups, 1, 0.1, 0.1) != assign(groups, 2, 0.1, 0.1)


def test_tiny_sets():
    assert sorted(assign(singles(3), 42, 0.01, 0.01).values()) == ["dev", "test", "train"]
    assert sorted(assign(singles(3), 42, 0.4, 0.5).values()) == ["dev", "test", "train"]
    with pytest.raises(UserError, match="form 2 group"):
        assign(singles(2), 42, 0.1, 0.1)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from("甲乙丙")), min_size=3, max_size=40),
    st.integers(0, 9), st.floats(0.01, 0.45), st.floats(0.01, 0.45),
)  # fmt: skip
def test_any_groups_give_three_sides(sizes, seed, dev, test):
    groups = [
        Group(str(index), source, tuple(range(size))) for index, (size, source) in enumerate(sizes)
    ]
    sides = assign(groups, seed, dev, test)
    counts = dialogues_of(groups, sides)
    assert set(sides) == {group.key for group in groups} and all(
        counts[side] for side in ("train", "dev", "test")
    )
    total, smallest = sum(counts.values()), min(len(group.rows) for group in groups)
    assert counts["test"] <= max(
        round(total * test), sorted(len(group.rows) for group in groups)[-1]
    )
    assert smallest <= counts["dev"]


def test_groups_join_first_turns_and_near_duplicates():
    groups = group_dialogues(["a", "b", "a", "c", "d"], ["甲", "甲", "乙", "乙", "乙"], [(1, 3)])
    assert {group.rows: (group.key, group.source) for group in groups} == {
        (0, 2): ("a", "甲"),
        (1, 3): ("b", "甲"),
        (4,): ("d", "乙"),
    }


def test_shared_counts_names_on_two_sides():
    assert shared({"train": ["a", "b"], "dev": ["c"], "test": ["b", "a"]}) == 2
    assert shared({"train": ["a", "a"], "dev": [], "test": ["b"]}) == 0
