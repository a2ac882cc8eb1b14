"""What goes when all dialogues are known: capped lines, shares of sources; and what the crisis
census counts.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.data import census
from mindtune.data.duplicates import line_keys
from mindtune.data.hotlines import load_hotlines
from mindtune.data.selection import most_repeated, over_cap, over_share, wanted

HOTLINES = load_hotlines(Path(__file__).parents[3] / "config" / "hotlines.yaml")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=20), st.integers(1, 4))
def test_a_line_stays_in_as_many_dialogues_as_the_cap(dialogues, cap):
    keys = np.array([key for lines in dialogues for key in lines], dtype=np.uint64)
    rows = np.array([row for row, lines in enumerate(dialogues) for _ in lines], dtype=np.int64)
    earlier, expected = Counter(), set()
    for row, lines in enumerate(dialogues):
        if any(earlier[key] >= cap for key in set(lines)):
            expected.add(row)
        earlier.update(set(lines))
    assert over_cap(keys, rows, cap) == expected


def test_most_repeated_lines_come_with_their_first_dialogue():
    keys, rows = np.array([7, 8, 7, 9, 8, 7], dtype=np.uint64), np.array([0, 0, 1, 2, 3, 3])
    assert most_repeated(keys, rows, 5) == [(0, 3), (0, 2)]


def test_lines_are_levelled_and_short_ones_are_nobodys():
    keys = line_keys(
        ["不客气，祝你一切顺利！", "不客气 祝你一切顺利", "不客气，祝你一切都好！", "好的。"]
    )
    assert len(keys) == 3 and keys[0] == keys[1] != keys[2]


def test_weights_give_the_largest_mix_in_their_ratio():
    sources = {
        "a": {"weight": 3},
        "b": {"weight": 1},
        "c": {"limit": 5},
        "d": {"weight": 1, "limit": 10},
    }
    assert wanted({"a": 90, "b": 100, "c": 50, "d": 40}, sources) == {
        "a": 30,
        "b": 10,
        "c": 5,
        "d": 10,
    }
    assert wanted({"a": 9}, {"a": {"weight": 0.5}}) == {"a": 9}  # a ratio needs two


def test_the_draw_depends_on_ids_alone():
    files, ids = ["a.jsonl"] * 50, [f"对话{number}" for number in range(50)]
    gone = {ids[number] for number in over_share(files, ids, {"a.*": {"limit": 20}})}
    assert len(gone) == 30 and gone != set(ids[20:])
    again = over_share(files, ids[::-1], {"a.*": {"limit": 20}})
    assert {ids[::-1][number] for number in again} == gone


@pytest.mark.parametrize(("client", "counsellor", "expected"), [
    ("我最近失眠。", "可以去医院看看。", 0),
    ("我不想活了。", "你很难过。", 1),
    ("有时候想割腕。", "建议你去医院，找专业人士谈谈。", 3),
    ("我想自杀。", "请拨打12356。", 7),
    ("我想自杀。", "请打 010-8295 1332 ，有人接。", 7),
    ("我想自杀。", "我的号码是13800138000。", 1),
    ("I want to die.", "Please call a crisis line now.", 7),
])  # fmt: skip
def test_census(client, counsellor, expected):
    assert (
        census.tag([("system", "自杀"), ("human", client), ("gpt", counsellor)], HOTLINES).flags
        == expected
    )


def test_only_the_client_raises_the_flag():
    tags = census.tag([("human", "我很累。"), ("gpt", "你有过自杀的念头吗？")], HOTLINES)
    assert (tags.verdict, tags.turns, tags.flags) == (
        "counsellor",
        ("", "speaks"),
        census.COUNSELLOR_SPEAKS,
    )
