"""Near-duplicates: nothing similar is dropped unseen, nothing dissimilar is dropped, and the first
copy stays.
"""

import random
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data.duplicates import (
    Groups,
    band_keys,
    band_shape,
    check_near_duplicates,
    copies_to_drop,
    first_turn_key,
    first_turn_text,
    level,
    similar_pairs,
    spoken_text,
)
from mindtune.data.ngrams import gram_bits, gram_hashes, grams, jaccard, may_be_similar

WORDS = [
    "我最近总是失眠",
    "工作压力很大",
    "和父母吵架",
    "孩子不肯上学",
    "我们一起看看原因",
    "先做三次深呼吸",
    "你愿意多说一点吗",
    "那时候心里在想什么",
]


def corpus(count, seed):
    """Invented dialogues of about 300 characters, and for each tenth one a copy with some
    characters changed.
    """
    draw = random.Random(seed)
    texts = [
        "".join(draw.choice(WORDS) + chr(draw.randrange(0x4E00, 0x9000)) for _ in range(35))
        for _ in range(count)
    ]
    planted = []
    for index in range(0, count, 10):
        copy = list(texts[index])
        for _ in range(draw.randrange(1, 8)):
            copy[draw.randrange(len(copy))] = chr(draw.randrange(0x4E00, 0x9000))
        planted.append((index, len(texts)))
        texts.append("".join(copy))
    return texts, planted


def found(texts, threshold):
    keys = band_keys(texts, 5, threshold)
    return set(similar_pairs(keys, texts.__getitem__, 5, threshold))


def test_recall_and_precision_on_planted_copies():
    texts, planted = corpus(600, seed=3)
    wanted = {
        pair
        for pair in planted
        if jaccard(grams(texts[pair[0]], 5), grams(texts[pair[1]], 5)) >= 0.8
    }
    pairs = found(texts, 0.8)
    assert len(wanted) > 40
    assert len(pairs & wanted) >= 0.95 * len(wanted)
    assert pairs <= set(planted)


def test_every_pair_reaches_the_threshold_and_the_order_does_not_matter():
    texts, _ = corpus(300, seed=5)
    for threshold in (0.6, 0.9):
        pairs = found(texts, threshold)
        assert all(
            first < second and jaccard(grams(texts[first], 5), grams(texts[second], 5)) >= threshold
            for first, second in pairs
        )
        assert {
            (len(texts) - 1 - b, len(texts) - 1 - a) for a, b in found(texts[::-1], threshold)
        } == pairs


def test_keys_do_not_depend_on_the_batch():
    texts, _ = corpus(50, seed=7)
    whole = band_keys(texts, 5, 0.8)
    assert whole.shape == (len(texts), band_shape(0.8)[0]) and whole.dtype == np.uint64
    assert (
        np.concatenate([band_keys(texts[:20], 5, 0.8), band_keys(texts[20:], 5, 0.8)]) == whole
    ).all()


def test_short_and_empty_texts():
    assert grams("好", 5) == {"好"} and grams("你好吗朋友", 5) == {"你好吗朋友"}
    assert found(["好", "好", "嗯", "", ""], 0.8) == {(0, 1), (3, 4)}


def test_band_shape_meets_its_promise():
    for threshold in (0.3, 0.5, 0.6, 0.8, 0.9, 1):
        bands, rows = band_shape(threshold)
        assert bands * rows <= 126 and 1 - (1 - threshold**rows) ** bands >= 0.95


def test_many_copies_of_one_text_are_linear():
    """3,000 equal texts would be 4.5 million pairs."""
    texts = ["我最近总是失眠，不知道怎么办才好"] * 3000
    pairs = found(texts, 0.8)
    assert len(pairs) == 2999 and all(first == 0 for first, _ in pairs)


def test_the_first_copy_stays_and_chains_do_not_pull():
    assert copies_to_drop([(0, 1), (0, 2), (1, 2)]) == {1: 0, 2: 0}
    assert copies_to_drop([(1, 2), (0, 1)]) == {1: 0}  # 2 is like 1 only, and 1 is gone


def test_first_turn_key_levels_what_does_not_matter():
    def key(text):
        turns = [("system", "甲"), ("human", text), ("gpt", "嗯")]
        return first_turn_key(
            first_turn_text({"from": role, "value": said} for role, said in turns)
        )

    assert key("我 最近，总是失眠！ＡＢ") == key("我最近总是失眠ab")
    assert key("我最近总是失眠") != key("我最近总是失恋")
    assert key("？？") != key("！！")


def test_system_prompts_do_not_make_dialogues_alike():
    assert (
        spoken_text(
            [{"from": "system", "value": "很长的提示"}, {"from": "human", "value": "我 累\n了"}]
        )
        == "我累了"
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29))))
def test_groups_are_the_connected_components(count, links):
    links = [(a % count, b % count) for a, b in links]
    groups = Groups(count)
    for a, b in links:
        groups.join(a, b)
    label = list(range(count))
    for _ in range(count):
        for a, b in links:
            label[a] = label[b] = min(label[a], label[b])
    assert [groups.find(item) for item in range(count)] == label


@pytest.mark.parametrize(
    "wrong",
    [
        {"ngram_chars": 5},
        {"ngram_chars": 0, "threshold": 0.8},
        {"ngram_chars": 5, "threshold": 0.1},
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(UserError, match="near_duplicates"):
        check_near_duplicates(wrong)


TEXTS = st.lists(st.text(alphabet="我你他的不在\0\ud83d\ude00", max_size=12), max_size=8)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(1, 6))
def test_hashes_of_many_texts_are_those_of_each(texts, size):
    hashes, offsets = gram_hashes(texts, size)
    assert offsets[0] == 0 and offsets[-1] == len(hashes) and len(offsets) == len(texts) + 1
    for text, start, end in zip(texts, offsets, offsets[1:], strict=False):
        alone, _ = gram_hashes([text], size)
        assert (hashes[start:end] == alone).all() and end - start == max(1, len(text) - size + 1)
    named = {}
    for text, start in zip(texts, offsets, strict=False):
        padded = text.ljust(size, "\0")
        for place in range(len(padded) - size + 1):
            gram = padded[place : place + size]
            assert named.setdefault(gram, hashes[start + place]) == hashes[start + place]
    assert len(set(named.values())) == len(named)


@settings(max_examples=200, deadline=None)
@given(TEXTS.filter(len), st.floats(0.3, 1), st.integers(1, 5))
def test_bit_maps_never_turn_a_similar_pair_away(texts, threshold, size):
    bits = gram_bits(texts, size)
    for first, one in enumerate(texts):
        others = np.array([len(one) + len(other) + 2 for other in texts])
        may = may_be_similar(bits[[first] * len(texts)], bits, others, threshold)
        for other, possible in zip(texts, may, strict=True):
            assert possible or jaccard(grams(one, size), grams(other, size)) < threshold


def test_bit_maps_turn_most_other_pairs_away():
    texts, _ = corpus(100, seed=2)
    bits, both = gram_bits(texts[:100], 5), np.full(100, 2 * 300)
    assert (
        sum(may_be_similar(bits[[row] * 100], bits, both, 0.6).sum() for row in range(100)) == 100
    )


@settings(max_examples=300)
@given(
    st.text(
        alphabet="，！？：；（）…～\u3000eΣαA\u0301\u0338<=. "
        "'’在\u3099かｶﾞ①½℃ﬁ\u1112\u1161\u11ab\ud800",
        max_size=9,
    )
)
def test_levelling_is_nfkc_in_small_letters_without_signs(text):
    assert (
        level(text) == re.sub(r"[\s\W_]+", "", unicodedata.normalize("NFKC", text).lower())
        or level(text) == text
    )
