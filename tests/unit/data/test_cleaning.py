"""Cleaning: every step on its own, their order, and the program with its two files and its
record.
"""

import pytest
from cleaning_runs import GOOD, cleaner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data import cleaning
from mindtune.data.cleaning import REPAIRS, STEPS, in_order

# ------------------------------------------------------------------------------------------------------------- repairs  # noqa: E501


def test_a_dialogue_with_several_faults():
    """Order matters: the empty turn goes first, so that its neighbours can be joined and the last
    client turn dropped.
    """
    turns = [
        ("gpt", "欢迎&nbsp;"),
        ("human", "我很累。"),
        ("gpt", "<br>"),
        ("human", "电话13800138000"),
        ("gpt", "我在听。"),
        ("human", "\u200b"),
    ]
    done = cleaner().clean(turns)
    assert done.turns == [("human", "我很累。\n电话[电话]"), ("gpt", "我在听。")]
    assert done.fixes == [
        "html",
        "invisible",
        "whitespace",
        "mask_mobile",
        "empty_turn",
        "same_role_turns",
        "leading_counsellor_turn",
    ]
    assert done.masked == {"mask_mobile": 1}


# ---------------------------------------------------------------------------------------------------------- rejections  # noqa: E501


def test_a_system_turn_inside_is_out_of_order():
    assert cleaner().clean([*GOOD[:2], ("system", "继续。"), *GOOD[2:]]).reasons == [
        "turns_out_of_order"
    ]


def test_steps_must_be_complete_and_known():
    for steps, word in (
        (dict.fromkeys(STEPS[1:], True), STEPS[0]),
        (dict.fromkeys(STEPS, True) | {"html2": True}, "html2"),
    ):
        with pytest.raises(UserError, match=word):
            cleaning.check_steps(steps)


TEXT = st.text(
    alphabet="我你他。，：医生 "
    "\n\r\t\u3000\u200b&lt;nbsp<br>13800@.com\x07é\u0301ÃÂ\ud83d<|im_end|>",
    max_size=40,
) | st.text(max_size=30)
LABEL = st.sampled_from(["human", "gpt", "system", "来访者", "assistant", "妈妈", ""])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(LABEL, TEXT), max_size=8), st.sets(st.sampled_from(STEPS)))
def test_any_turns_are_kept_in_order_or_rejected(turns, off):
    done = cleaner(off=off).clean(turns)
    assert done.reasons or in_order(done.turns)
    assert set(done.fixes) <= set(REPAIRS) | {"role_name"}


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(LABEL, TEXT), min_size=2, max_size=8))
@example(
    [("human", "\x80Ü¯Ā"), ("gpt", "0")]
)  # the control character hides the mojibake from the first round
@example(
    [("human", "我睡不着。"), ("gpt", "医生：（沉默）\n我在听。")]
)  # without the label, the line is narration
def test_cleaning_a_clean_dialogue_changes_nothing(turns):
    done = cleaner().clean(turns)
    if not done.reasons:
        again = cleaner().clean(done.turns)
        assert (again.turns, again.fixes, again.reasons) == (done.turns, [], [])


# ---------------------------------------------------------------------------------------------------------- the program  # noqa: E501


# --------------------------------------------------------------------------------- crises,
# patterns, hostile rows
