"""Scores of Chinese and English replies: right tokenizer, empty replies counted, equal to the
scores of sacrebleu, floors beside them.
"""

import subprocess
import sys

import numpy as np
import pytest
from mindtune.evaluate import floors, metrics
from mindtune.evaluate.parts import FORMULAS
from mindtune.evaluate.tokens import is_chinese, tokenize
from replies import FIXED, TURNS, column, reply_rows
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF


def scores(replies: list[str], references: list[str]) -> dict[str, float]:
    """{metric: its value for the whole system}."""
    values = metrics.reply_values(replies, references)
    found = {name: float(column.mean()) for name, column in values.items() if ":" not in name}
    for name in {name.partition(":")[0] for name in values if ":" in name}:
        formula = FORMULAS[name]
        sums = np.stack([values[part] for part in metrics.columns(name)], axis=1).sum(axis=0)
        found[name] = float(formula.score(sums[None])[0])
    return found


def test_tokens_are_chinese_characters_whole_words_numbers_and_marks():
    found = tokenize("我做了PHQ-9，得15.5分！I don't know…")
    assert list(found) == [
        "我",
        "做",
        "了",
        "phq-9",
        "，",
        "得",
        "15.5",
        "分",
        "！",
        "i",
        "don't",
        "know",
        "…",
    ]


def test_identical_replies_score_full_marks_in_both_languages():
    found = scores(column(2), column(2))
    for name in ("BLEU", "chrF", "ROUGE-1", "ROUGE-2", "ROUGE-L"):
        assert found[name] == pytest.approx(100), name
    assert found["length_ratio"] == 1


def test_different_chinese_around_the_same_number_is_not_identical():
    reply, reference = "PHQ-9 得分 15 分", "PHQ-9 结果 15，属于中重度"
    assert RougeScorer(["rouge1"]).score(reference, reply)["rouge1"].fmeasure == 1, (
        "the trap this test is about"
    )
    assert 0 < scores([reply], [reference])["ROUGE-1"] < 60


def test_repeating_the_reference_is_punished_and_shown():
    found = scores(["好 的 " * 4], ["好 的"])
    assert found["ROUGE-1"] == pytest.approx(40)
    assert found["length_ratio"] == 4
    assert found["repetition"] == pytest.approx(3 / 5)  # 5 four-grams, 2 different
    assert metrics.distinct(["好 的 " * 4], 1) == 2 / 8


def test_summed_statistics_give_sacrebleus_own_corpus_scores():
    found = scores(column(4), column(2))
    theirs = BLEU(tokenize="zh").corpus_score(column(4), [column(2)]).score
    assert found["BLEU"] == pytest.approx(theirs, rel=1e-14)
    theirs = CHRF().corpus_score(column(4), [column(2)]).score
    assert found["chrF"] == pytest.approx(theirs, rel=1e-14)
    assert 10 < found["BLEU"] < 90


def test_signatures_name_the_chinese_tokenizer():
    found = metrics.signatures()
    assert "tok:zh" in found["BLEU"] and "version:" in found["BLEU"]
    assert found["chrF"].startswith("nrefs:1|") and "tok:cjk-char+word" in found["ROUGE-L"]


def test_sacrebleus_zh_tokenizer_serves_mixed_text():
    tokenizer = BLEU(tokenize="zh").tokenizer
    assert tokenizer("用 mindfulness 练习CBT。").split() == [
        "用",
        "mindfulness",
        "练",
        "习",
        "CBT",
        "。",
    ]
    english = [turn for turn in TURNS if not is_chinese(turn[2])]
    replies, references = [turn[4] for turn in english], [turn[2] for turn in english]
    assert (
        BLEU(tokenize="zh").corpus_score(replies, [references]).score
        == BLEU().corpus_score(replies, [references]).score
    )


def test_empty_replies_count_as_zero():
    half = [reference if number % 2 else " " for number, reference in enumerate(column(2))]
    found = scores(half, column(2))
    assert found["empty"] == pytest.approx(4 / 7)
    assert found["ROUGE-L"] == pytest.approx(100 * 3 / 7)
    assert found["BLEU"] < 60, "the brevity penalty sees the missing replies"


def test_silence_everywhere_scores_zero_without_an_error():
    found = scores([""] * 7, column(2))
    for name in ("BLEU", "chrF", "ROUGE-1", "ROUGE-L", "repetition", "length_ratio"):
        assert found[name] == 0, name
    assert metrics.distinct([""] * 7, 1) == 0


def test_a_chunk_ends_anywhere(monkeypatch):
    whole = metrics.reply_values(column(4), column(2))
    monkeypatch.setattr(metrics, "CHUNK", 2)
    for threads in (1, 2):
        other, parts = metrics.several_values([column(3), column(4)], column(2), threads)
        assert all(np.array_equal(whole[name], parts[name]) for name in whole)
        assert not np.array_equal(whole["ROUGE-1"], other["ROUGE-1"])


def test_any_resample_scores_as_sacrebleu_would_score_it():
    """Also without a match in some order, and with empty replies."""
    replies = [*column(3), *column(4), "", "睡"]
    references = [*column(2), *column(2), "好", "睡"]
    for name, metric in (("BLEU", BLEU(tokenize="zh")), ("chrF", CHRF())):
        statistics = np.array(metric._extract_corpus_statistics(replies, [references]))
        draws = np.random.default_rng(0).integers(0, 3, (200, len(replies)))
        draws[:4] = 0
        draws[range(1, 4), [1, 14, 15]] = 1  # an empty reply, twice, and a single character
        sums = draws @ statistics
        theirs = [metric._compute_score_from_stats(row.tolist()).score for row in sums]
        assert np.abs(FORMULAS[name].score(sums.astype(float)) - theirs).max() < 1e-12


def test_the_sacrebleu_command_gives_the_same_numbers(tmp_path):
    for name, texts in (("replies", column(4)), ("references", column(2))):
        (tmp_path / name).write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    found = scores(column(4), column(2))
    for name, flags in (("BLEU", ["-m", "bleu", "-tok", "zh"]), ("chrF", ["-m", "chrf"])):
        command = [sys.executable, "-m", "sacrebleu", "references", "-i", "replies", *flags]
        done = subprocess.run(
            [*command, "-b", "-w", "10"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert float(done.stdout) == pytest.approx(found[name], abs=1e-9)


def test_language_by_share_of_chinese_words():
    assert is_chinese("用 CBT 和 mindfulness 练习")
    assert not is_chinese("I told her 我爱你 yesterday and she smiled")


def test_floors_hold_no_counselling():
    rows = reply_rows(4)
    found = floors.floors(rows, FIXED, seed=42)
    assert found == floors.floors(rows, FIXED, seed=42)
    assert len(found["floor:random"]) == floors.MOST_DRAWS and floors.draws(296) == 20
    assert floors.draws(10_000) == 1
    home = {row["reference"]: row["dialogue"] for row in rows}
    for floor in ("floor:random", "floor:nearest"):
        for drawn in found[floor]:
            for row, reply in zip(rows, drawn, strict=True):
                assert home[reply] != row["dialogue"]
                assert is_chinese(reply) is is_chinese(row["reference"])
    assert found["floor:echo"] == [column(1)]
    assert found["floor:fixed"] == [[FIXED["zh"]] * 5 + [FIXED["en"]] * 2]


def test_the_base_cut_to_the_references_length_stands_among_the_floors():
    rows = [row | {"reply": row["reference"] + "还有很多话"} for row in reply_rows(4)]
    (cut,) = floors.floors(rows, FIXED, seed=42)["floor:base_cut"]
    assert cut == [row["reference"] for row in rows]


def test_the_harder_floors_are_a_turn_of_the_same_dialogue_and_the_nearest_clients_reply():
    assert floors.neighbours(["一", "二", "三", "别"], ["a", "a", "a", "b"]) == [
        "二",
        "三",
        "二",
        None,
    ]
    clients = ["我最近总是失眠", "我怕考试", "最近总是失眠，怎么办", "考试让我害怕"]
    replies = ["一", "二", "三", "四"]
    assert floors.nearest_references(clients, replies, ["a", "b", "c", "d"], seed=0)[0] == "三"
    assert floors.nearest_references(clients, replies, ["a", "b", "a", "d"], seed=0)[0] != "三"


def test_random_floor_leaves_the_language_only_if_it_must():
    found = floors.random_references(["你好", "再见", "hello"], ["a", "a", "b"], seed=0)
    assert found[:2] == ["hello", "hello"] and found[2] in ("你好", "再见")
