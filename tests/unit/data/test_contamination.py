"""Contamination: what is quoted or nearly quoted is found, what only resembles is not, and
training loses it.
"""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data.contamination import (
    EVIDENCE,
    LONG,
    RARE,
    HeldOut,
    HeldOutTexts,
    Search,
    check_contamination,
)
from mindtune.data.duplicates import level
from mindtune.data.ngram_index import COMMON, GramTable, Index
from mindtune.data.ngrams import grams, jaccard

QUESTION = "按照皮亚杰的理论，婴儿开始明白物体看不见了也仍然存在，这一成就属于哪个阶段？"
REPLY = "谢谢你愿意告诉我这些。听起来这段时间你一直在硬撑，我们可以先从睡眠开始，一点一点地调整。"


def own(number, length):
    """A text that is like no other."""
    return "".join(map(chr, random.Random(number).choices(range(0x4E00, 0x9000), k=length)))


def search(*texts, among=(), source="题.jsonl", overlap=0.5, similarity=0.6):
    """A search for texts in the turns of `among`, each of which is a dialogue."""
    held_out = HeldOutTexts([HeldOut(f"题{n}", source, text) for n, text in enumerate(texts)], 13)
    seen = np.zeros(len(held_out.index.table.hashes), dtype=np.int64)
    places, times, _ = held_out.times_in([[turn] for turn in among])
    seen[places] += times
    return Search(held_out, seen, overlap, similarity)


def found(turns, *texts, **more):
    return [(hit.turn, hit.text.name) for hit in search(*texts, among=turns, **more).hits(turns)]


@pytest.mark.parametrize("turn", [
    QUESTION,
    "考试里有这么一道题：" + QUESTION + ("我选了感知运动阶段，可是老师说我错了，我很难过，"
"一晚上没有睡着。"),
    QUESTION.replace("，", " , ").replace("？", ""),
    QUESTION[:30] + "属于什么阶段呢",
    QUESTION.replace("成就", "能力"),
])  # fmt: skip
def test_a_question_in_a_turn_is_found(turn):
    assert found(["我最近总是失眠。", turn], QUESTION, REPLY) == [(1, "题0")]


def test_a_near_duplicate_is_found_where_n_grams_are_broken():
    """Every 23rd character differs: fewer than half of the 13-grams are left, but the text is the
    same.
    """
    text = own(7, 200)
    edited = "".join("改" if place % 23 == 11 else sign for place, sign in enumerate(text))
    [hit] = search(text, among=[edited]).hits([edited])
    assert hit.rule == "near" and hit.overlap < 0.5 and hit.similarity >= 0.6
    assert found([edited], text, similarity=0.7) == []


@pytest.mark.parametrize("turn", [
    "我在学皮亚杰的理论，"
"婴儿什么时候明白物体看不见了也还在？", "谢谢你愿意告诉我这些。", "", "？", QUESTION[:18],
    "谢谢你愿意告诉我这些。听起来工作上的事让你很累，你愿意说说最近一次觉得轻松是什么时候吗？",
])  # fmt: skip
def test_what_only_resembles_is_not_found(turn):
    assert found([turn], QUESTION, REPLY) == []


def test_short_texts_find_nothing():
    held_out = HeldOutTexts([HeldOut("a", "题", "你好吗？"), HeldOut("b", "题", REPLY)], 13)
    assert (held_out.too_short, len(held_out.texts)) == (1, 1)
    assert search().hits(["任何话"]) == [] and search(REPLY).hits([]) == []


GOODBYE = "不用客气，祝你一切顺利，加油！我会一直在这里支持你。"


def test_what_many_say_is_nobodys_own():
    """A goodbye of the test side is no leak, once or often; what is rare and long enough is one."""
    often = [own(n, 40) + GOODBYE for n in range(30)]
    assert found(often[:1], GOODBYE, source="test") == []
    assert found(often, GOODBYE, source="test") == []
    reply = own(99, 30) + GOODBYE
    assert found([*often, own(98, 9) + reply], reply, source="test") == [(30, "题0")]
    half = own(97, 25) + GOODBYE  # the half that is in training is the goodbye
    assert found(often, half, source="test") == []


def test_a_long_text_is_found_however_often_it_was_copied():
    long, short = own(1, LONG), own(2, LONG - 1)
    assert len(found([long] * 9, long, source="dev")) == 9
    assert found([short] * 9, short, source="dev") == []
    assert len(found([short] * 9, short)) == 9  # a question of an evaluation
    assert found([long] * (COMMON + 1), long, source="dev") == []  # everybody's last words
    assert len(found([long] * (COMMON + 1), long)) == COMMON + 1


def test_a_copy_of_what_many_say_is_found_where_few_say_it_in_that_order():
    """In a large corpus every sentence is common, and a copied reply is told by how they follow."""
    one, other = own(21, 30), own(22, 30)
    often = [own(100 + n, 20) + (one, other)[n % 2] for n in range(2 * COMMON + 2)]
    assert found([*often, own(23, 9) + one + other], one + other, source="test") == [
        (len(often), "题0")
    ]
    assert found([*often, own(23, 9) + other + one], one + other, source="test") == []
    assert found(often, one + other, source="test") == []


def test_half_a_reply_is_found_where_it_is_rare():
    """EVIDENCE n-grams of 13 characters are EVIDENCE + 12 characters in a row."""
    reply = own(3, 60)
    piece = reply[: EVIDENCE + 12 + 4]
    assert found([piece], reply, source="test") == [(0, "题0")]
    assert found([piece] * (RARE + 1), reply, source="test") == []
    assert found([piece], reply + own(4, 60), source="test") == []


def test_a_hit_says_why():
    reply = own(5, 60)
    [hit] = search(reply, among=["前言。" + reply[:45]]).hits(["前言。" + reply[:45]])
    assert (hit.rule, hit.rare, hit.seen, hit.passage) == ("part", 33, 1, reply[:45])
    assert hit.overlap == round(33 / 48, 4)


def test_english_needs_twice_the_letters():
    question = "Which of the following is true?"
    assert found([question + " I think that the client is anxious."], question) == []
    question += " A client who improves is called a responder in this study of depression."
    assert found([question], question) == [(0, "题0")]


LETTERS = st.text(alphabet="我你他的是不在有人这", min_size=13, max_size=60)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(LETTERS, min_size=1, max_size=6), st.lists(LETTERS, max_size=5), st.integers(0, 99),
    st.sampled_from(["题.jsonl", "test"]),
)  # fmt: skip
def test_every_hit_is_what_counting_gives(texts, turns, seed, source):
    """The verdicts of the rules, with sets of n-grams, over all texts and all turns."""
    draw = random.Random(seed)
    turns += [draw.choice(texts) + "。" + draw.choice(texts)[:40] for _ in range(4)]
    texts = list(dict.fromkeys(texts))
    hits = {hit.turn: hit for hit in search(*texts, among=turns, source=source).hits(turns)}
    sets = [grams(level(turn), 13) for turn in turns]
    for number, turn in enumerate(sets):
        expected = [verdict(text, turns[number], turn, sets, source) for text in texts]
        shares = [share for share, rule in expected if rule]
        assert (number in hits) == bool(shares)
        if shares:
            assert hits[number].overlap == round(max(shares), 4)


def verdict(text, turn, turn_grams, sets, source):
    ours = grams(text, 13)
    shared = ours & turn_grams
    rare = sum(sum(gram in one for one in sets) <= RARE for gram in shared)
    long, near_long = (LONG, 40) if source == "test" else (20, 20)
    near = jaccard(grams(level(turn), 5), grams(text, 5))
    share = len(shared) / len(ours)
    whole = share >= 0.9 and (len(text) >= long or rare >= EVIDENCE)
    part = share >= 0.5 and rare >= EVIDENCE
    alike = near >= 0.6 and len(text) >= near_long and 2 * rare > len(shared) > 0
    return share, whole or part or alike


def test_n_grams_are_counted_by_dialogue():
    index = Index([level(REPLY), level(QUESTION)], 13)
    dialogues = [[level(REPLY)] * 2, ["别的话，长一点也没有关系，真的没有"], [level(QUESTION)]]
    places, times, rows = index.times_in(dialogues)
    assert rows.tolist() == [0, 2] and set(times.tolist()) == {1}
    assert len(places) == len(grams(level(REPLY), 13) | grams(level(QUESTION), 13))


def test_a_hash_is_found_where_it_stands():
    draw = np.random.default_rng(1)
    hashes = np.unique(np.concatenate([
        draw.integers(0, 2**63, 5000, dtype=np.uint64) * np.uint64(2), np.arange(200,
            dtype=np.uint64),
        np.uint64(2**64 - 2) - np.arange(200, dtype=np.uint64),  # many in one slot, first and last
    ]))  # fmt: skip
    wanted = np.concatenate(
        [hashes[::-1], hashes[::3] + np.uint64(1), np.arange(2**20, 2**20 + 99, dtype=np.uint64)]
    )
    wanted = np.append(wanted, np.uint64(2**64 - 1))
    at, place = GramTable(hashes).find(wanted)
    assert at.tolist() == np.flatnonzero(np.isin(wanted, hashes)).tolist()
    assert (hashes[place] == wanted[at]).all()
    assert [places.tolist() for places in GramTable(hashes[:0]).find(wanted)] == [[], []]


@pytest.mark.parametrize(
    "wrong", [{"ngram_chars": 3}, {"overlap": 0.1}, {"similarity": 2}, {"extra": 1}]
)
def test_settings_are_checked(wrong):
    good = {"ngram_chars": 13, "overlap": 0.5, "similarity": 0.6, "remove": True}
    check_contamination(good)
    with pytest.raises(UserError, match="contamination"):
        check_contamination(good | wrong)
