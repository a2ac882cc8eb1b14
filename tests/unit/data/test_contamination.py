"""Contamination: what is quoted or nearly quoted is found, what only resembles is not, and
training loses it.
"""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data.contamination import (
    CANDIDATE,
    GramTable,
    HeldOut,
    Index,
    check_contamination,
    read_held_out,
)
from mindtune.data.duplicates import grams, jaccard, level
from test_splitting import program, read, row, write

QUESTION = "按照皮亚杰的理论，婴儿开始明白物体看不见了也仍然存在，这一成就属于哪个阶段？"
REPLY = "谢谢你愿意告诉我这些。听起来这段时间你一直在硬撑，我们可以先从睡眠开始，一点一点地调整。"


def own(number, length):
    """A text that is like no other."""
    return "".join(map(chr, random.Random(number).choices(range(0x4E00, 0x9000), k=length)))


def index(*texts, overlap=0.5, similarity=0.6):
    return Index(
        [HeldOut(f"题{n}", "题", text) for n, text in enumerate(texts)], 13, overlap, similarity, 5
    )


def found(turns, *texts, **more):
    return [(hit.turn, hit.text.name) for hit in index(*texts, **more).hits(turns)]


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
    [hit] = index(text).hits([edited])
    assert hit.overlap < 0.5 and hit.similarity >= 0.6
    assert found([edited], text, similarity=0.7) == []


@pytest.mark.parametrize("turn", [
    "我在学皮亚杰的理论，"
"婴儿什么时候明白物体看不见了也还在？", "谢谢你愿意告诉我这些。", "", "？", QUESTION[:18],
    "谢谢你愿意告诉我这些。听起来工作上的事让你很累，你愿意说说最近一次觉得轻松是什么时候吗？",
])  # fmt: skip
def test_what_only_resembles_is_not_found(turn):
    assert found([turn], QUESTION, REPLY) == []


def test_short_texts_and_phrases_of_the_language_find_nothing():
    short = index("你好吗？", REPLY)
    assert (short.too_short, len(short.texts)) == (1, 1)
    phrase = "我能理解你现在的感受这确实不容易"
    many = [phrase + chr(0x4E00 + n) * 30 + str(n) for n in range(60)]
    assert found([phrase + "，我们慢慢来。"], *many) == []
    assert found([many[7]], *many) == [(0, "题7")]
    assert index().hits(["任何话"]) == []


LETTERS = st.text(alphabet="我你他的是不在有人这", min_size=13, max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.lists(LETTERS, min_size=1, max_size=6), st.lists(LETTERS, max_size=5), st.integers(0, 99))
def test_every_hit_is_what_counting_gives(texts, turns, seed):
    draw = random.Random(seed)
    turns += [draw.choice(texts) + "。" + draw.choice(texts)]
    made = index(*texts)
    for hit in made.hits(turns):
        ours, theirs = grams(level(hit.text.text), 13), grams(level(turns[hit.turn]), 13)
        assert hit.overlap == round(len(ours & theirs) / len(ours), 4)
    overlaps = {
        turn: max(
            len(grams(text, 13) & grams(level(turns[turn]), 13)) / len(grams(text, 13))
            for text in texts
        )
        for turn in range(len(turns))
    }
    hit_turns = {hit.turn for hit in made.hits(turns)}
    assert {turn for turn, share in overlaps.items() if share >= 0.5} <= hit_turns
    assert all(
        overlaps[turn] >= 0.5
        or max(jaccard(grams(level(turns[turn]), 5), grams(text, 5)) for text in texts) >= 0.6
        for turn in hit_turns
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(LETTERS, min_size=1, max_size=6), st.lists(LETTERS, min_size=1, max_size=4), st.floats(0.2, 0.9),
    st.floats(0.3, 0.9),
)  # fmt: skip
def test_the_best_text_of_a_turn_is_what_comparing_with_all_gives(
    texts, turns, overlap, similarity
):
    """The turns are pieces of held-out texts, so that many are half found."""
    turns = [turn + text[: len(turn)] for turn in turns for text in texts] + texts
    texts = list(dict.fromkeys(texts))
    expected = []
    for number, turn in enumerate(turns):
        best = None
        for name, text in enumerate(texts):
            own = grams(text, 13)
            share = len(own & grams(turn, 13)) / len(own)
            near = jaccard(grams(turn, 5), grams(text, 5))
            enough = share >= overlap or (share >= CANDIDATE and near >= similarity)
            if enough and (best is None or round(share, 4) > best[2]):
                best = (number, f"题{name}", round(share, 4), round(near, 4))
        expected += [best] if best else []
    made = index(*texts, overlap=overlap, similarity=similarity)
    assert [
        (hit.turn, hit.text.name, hit.overlap, hit.similarity) for hit in made.hits(turns)
    ] == expected


def test_a_hash_is_found_where_it_stands():
    draw = np.random.default_rng(1)
    hashes = np.unique(np.concatenate([
        draw.integers(0, 2**63, 5000, dtype=np.uint64) * np.uint64(2), np.arange(200, dtype=np.uint64),
        np.uint64(2**64 - 2) - np.arange(200, dtype=np.uint64),  # many in one slot, first and last
    ]))  # fmt: skip
    wanted = np.concatenate(
        [hashes[::-1], hashes[::3] + np.uint64(1), np.arange(2**20, 2**20 + 99, dtype=np.uint64)]
    )
    wanted = np.append(wanted, np.uint64(2**64 - 1))
    at, place = GramTable(hashes).find(wanted)
    assert at.tolist() == np.flatnonzero(np.isin(wanted, hashes)).tolist()
    assert (hashes[place] == wanted[at]).all()
    assert [found.tolist() for found in GramTable(hashes[:0]).find(wanted)] == [[], []]


def test_files_of_questions_and_of_dialogues(tmp_path):
    path = tmp_path / "题.jsonl"
    path.write_text(
        json.dumps({"id": "k-1", "question": QUESTION}) + "\n" + json.dumps({"prompt": REPLY})
    )
    assert [(text.name, text.text) for text in read_held_out(path)] == [
        ("题.jsonl:k-1", QUESTION),
        ("题.jsonl:2", REPLY),
    ]
    path.write_text(json.dumps([["求助者：我有点怕。", "支持者：怕什么呢？"]]))
    assert [text.name for text in read_held_out(path)] == ["题.jsonl:1#0", "题.jsonl:1#1"]
    path.write_text('{"answer": "A"}')
    with pytest.raises(UserError, match=r"题.jsonl row 1 .*found no held-out text"):
        list(read_held_out(path))


@pytest.mark.parametrize(
    "wrong", [{"ngram_chars": 3}, {"overlap": 0.1}, {"similarity": 2}, {"extra": 1}]
)
def test_settings_are_checked(wrong):
    good = {"ngram_chars": 13, "overlap": 0.5, "similarity": 0.6, "remove": True}
    check_contamination(good)
    with pytest.raises(UserError, match="contamination"):
        check_contamination(good | wrong)


def contaminated(tmp_path):
    """60 dialogues of which three hold the question, and one the reply of every dialogue of the
    test side.
    """
    rows = [row(number, f"第{number}件事，我想说说", own(number, 80)) for number in range(60)]
    for number in (5, 25, 45):
        rows[number]["conversations"][0]["value"] += "：" + QUESTION
    questions = tmp_path / "题.jsonl"
    questions.write_text(json.dumps({"id": "k-1", "question": QUESTION}, ensure_ascii=False))
    return write(tmp_path / "clean.jsonl", rows), questions


def test_training_loses_what_holds_a_question(tmp_path):
    clean, questions = contaminated(tmp_path)
    done = program(tmp_path, clean, held_out=[questions])
    assert done.returncode == 0, done.stderr
    hits, facts = (
        read(tmp_path / "contamination.jsonl"),
        read(tmp_path / "split_dialogues.json")[0]["facts"],
    )
    everywhere = {
        entry["id"] for side in ("dev", "test") for entry in read(tmp_path / f"{side}.jsonl")
    }
    expected = {f"对话-{number}" for number in (5, 25, 45)} - everywhere
    assert {hit["id"] for hit in hits} == expected and expected
    assert all(
        (hit["held_out"], hit["overlap"], hit["turn"]) == ("题.jsonl:k-1", 1.0, 0) for hit in hits
    )
    assert not expected & {entry["id"] for entry in read(tmp_path / "train.jsonl")}
    assert (
        facts["contamination"]["removed"] == len(expected) and facts["contaminated_in_train"] == 0
    )
    assert sum(facts["dialogues"].values()) == 60 - len(expected)


def test_hits_are_listed_and_kept_if_the_settings_say_so(tmp_path):
    clean, questions = contaminated(tmp_path)
    keep = {"ngram_chars": 13, "overlap": 0.5, "similarity": 0.6, "remove": False}
    assert program(tmp_path, clean, held_out=[questions], contamination=keep).returncode == 0
    facts = read(tmp_path / "split_dialogues.json")[0]["facts"]
    assert facts["contaminated_in_train"] == facts["contamination"]["dialogues_hit"] > 0
    assert sum(facts["dialogues"].values()) == 60


def test_replies_of_the_test_side_are_held_out(tmp_path):
    """Train is left without any turn that holds a reply of the test side."""
    rows = [
        row(number, f"第{number}件事，我想说说", own(number, 80) + (REPLY if number % 2 else ""))
        for number in range(40)
    ]
    for entry in rows[::2]:  # a turn that is the reply and little else
        entry["conversations"] += [
            {"from": "human", "value": "好"},
            {"from": "gpt", "value": REPLY},
        ]
    clean = write(
        tmp_path / "clean.jsonl",
        rows + [row(number, f"第{number}件事", own(number, 90)) for number in range(40, 60)],
    )
    assert program(tmp_path, clean).returncode == 0
    train = read(tmp_path / "train.jsonl")
    assert any(
        entry["conversations"][-1]["value"] == REPLY for entry in read(tmp_path / "test.jsonl")
    )
    assert not any(REPLY in turn["value"] for entry in train for turn in entry["conversations"])


def test_a_set_that_is_all_held_out_is_refused(tmp_path):
    clean = write(
        tmp_path / "clean.jsonl", [row(n, own(n, 80) + QUESTION, own(n + 50, 80)) for n in range(9)]
    )
    (tmp_path / "题.jsonl").write_text(json.dumps({"question": QUESTION}))
    done = program(tmp_path, clean, held_out=[tmp_path / "题.jsonl"])
    assert (
        done.returncode == 2
        and "every training dialogue" in done.stderr
        and not (tmp_path / "train.jsonl").exists()
    )
