"""Shortcuts for speed leave every verdict as the whole patterns give it."""

import random

import pytest
from mindtune.data import crisis, labels, markup, repetition
from tools import write_hand_check

TEXTS = [row["text"] for row in write_hand_check.read("crisis")]


def pieces(seed: int) -> str:
    """Cuttings of labelled texts, put together at random, so that words stand at the borders."""
    draw = random.Random(seed)
    cut = []
    for text in draw.choices(TEXTS, k=4):
        start = draw.randrange(len(text))
        cut.append(text[start : start + draw.randint(1, 30)])
    return draw.choice(["", "。", "，", "不", "\n"]).join(cut)


def test_every_word_of_a_crisis_passes_the_first_look():
    found = 0
    for text in [*TEXTS, *map(pieces, range(3000))]:
        spoken = crisis.SPEAKS.search(text)
        if spoken:
            found += 1
            assert crisis._may_speak(text), text
    assert found > 500


@pytest.mark.parametrize("text", ["SU\u0130C\u0130DE", "su\u0131cide", "\u212aILL MY\u017fELF"])
def test_odd_capitals_pass_the_first_look(text):
    assert crisis.SPEAKS.search(text) and crisis._may_speak(text)


@pytest.mark.parametrize("text", [
    "你好，来访者。", "Hello, Client!", "hello, \u017fEE\u212aER.", "Dear \u017feeker, you can.",
    "hello, CL\u0130ENT.", "谢谢题主，",
])  # fmt: skip
def test_a_greeted_label_passes_the_first_look(text):
    assert labels._VOCATIVE_WORDS.search(text) and labels._MAYBE_VOCATIVE.search(text)


@pytest.mark.parametrize("text", ["<!-- a", "<a <b", "</p", "<script", "<br/", "a < b"])
def test_markup_without_an_end_needs_no_repair(text):
    assert markup.keeps_markup(text) and markup.fix_html(text) == text
    assert not markup.keeps_markup(f"{text}<br>")


@pytest.mark.parametrize("before", range(13))
def test_a_run_of_twelve_is_found_wherever_it_starts(before):
    assert repetition.loops("一二三四五六七八九十甲乙"[:before] + "好" * 12)
    assert not repetition.loops("一二三四五六七八九十甲乙"[:before] + "好" * 11)
