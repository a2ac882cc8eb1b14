"""First turns that are nearly the same: the search finds what comparing all with all finds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.data.first_turns import SPAN, similar_turns
from mindtune.data.ngrams import gram_hashes, grams, jaccard


def pairs(texts, threshold=0.8):
    hashes, offsets = gram_hashes(texts, 5)
    return similar_turns(hashes, np.diff(offsets), threshold).tolist()


def brute(texts, threshold):
    sets = [grams(text, 5) for text in texts]
    return [
        [first, second]
        for first in range(len(texts))
        for second in range(first + 1, len(texts))
        if jaccard(sets[first], sets[second]) >= threshold - 1e-12
    ]


WORDS = st.sampled_from(
    ["我很自卑", "觉得", "最近总是失眠", "工作", "压力大", "怎么办", "他", "不理我", "了", "好"]
)
TURNS = st.lists(WORDS, min_size=1, max_size=12).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(TURNS, min_size=1, max_size=40, unique=True), st.sampled_from([0.5, 0.8, 1.0]))
def test_all_pairs_are_found_and_no_others(texts, threshold):
    assert pairs(texts, threshold) == brute(texts, threshold)


def test_a_beginning_left_out_is_found():
    story = "我很自卑，觉得自己什么都做不好，在人多的地方不敢说话，也不敢看别人的眼睛".replace(
        "，", ""
    )
    assert pairs([story, "今天天气很好", story[1:], story[:-9]]) == [[0, 2]]


def test_turns_shorter_than_an_n_gram():
    assert pairs(["你好", "您好", "在吗"]) == []


def test_more_than_are_compared_are_one_group_all_the_same():
    """Each is compared with SPAN others that share an n-gram; these are like it."""
    texts = [f"同一句很长很长很长很长很长的话开头都一样后面不同{n:03d}" for n in range(200)]
    found = pairs(texts, 0.7)
    assert len(texts) > SPAN
    assert {second for _, second in found} == set(range(1, 200))
