"""BLEU and ROUGE beside LLaMA-Factory's and ms-swift's, on real sentences, where they agree.

They agree on the same words of texts that repeat no word: rouge_chinese and rouge count sets, where
rouge-score and we count how often. nltk's BLEU of one text is sacrebleu's where every order has a
match, so that no smoothing counts.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest
from mindtune.evaluate.parts import FORMULAS
from mindtune.evaluate.rouge import rouge
from mindtune.evaluate.tokens import tokenize
from mindtune.records import read_jsonl

metrics = pytest.importorskip("mindtune.evaluate.metrics", reason="make test-peers builds it")
ROOT = Path(__file__).parents[3]
NAMES = ("rouge-1", "rouge-2", "rouge-l")


def replies():
    """Pairs of a bundled counsellor's turn and a half of it before half of the next one."""
    turns = [
        turn["value"].replace(".", "")
        for row in read_jsonl(ROOT / "resources/dialogues/zh.jsonl")
        for turn in row["conversations"]
        if turn["from"] == "gpt"
    ]
    for one, other in itertools.pairwise(turns):
        yield one[: len(one) // 2] + other[len(other) // 2 :], one


def once(words):
    """Whether no word is there twice."""
    return len(set(words)) == len(words)


def first_words(text, count=24):
    """The beginning of a text up to the first word that was there before."""
    words = []
    for word in tokenize(text)[:count]:
        if word in words:
            break
        words.append(word)
    return words


def test_rouge_is_that_of_rouge_chinese_on_words_that_are_there_once():
    from rouge_chinese import Rouge

    compared = 0
    for reply, reference in replies():
        ours, theirs = first_words(reply), first_words(reference)
        scores = Rouge().get_scores(" ".join(ours), " ".join(theirs))[0]
        found = rouge(ours, theirs)
        assert [scores[name]["f"] for name in NAMES] == pytest.approx(found, abs=1e-7)
        compared += found[2] > 0.3
    assert compared >= 100


def test_rouge_and_bleu_are_those_of_ms_swift_on_its_own_words():
    import jieba
    from swift.metrics.nlg import compute_rouge_bleu

    compared = 0
    for reply, reference in replies():
        words = [[w for w in jieba.cut(text[:30]) if w.strip()] for text in (reply, reference)]
        if not all(map(once, words)):
            continue
        theirs = compute_rouge_bleu([reply[:30]], [reference[:30]])
        found = 100 * np.array(rouge(*words))
        assert [theirs[name] for name in NAMES] == pytest.approx(found, abs=1e-5)
        if (bleu := bleu_of(words)) is not None:
            assert theirs["bleu-4"] == pytest.approx(bleu, abs=1e-5)
            compared += 1
    assert compared >= 20


def bleu_of(words):
    """BLEU of a reply's words by our formula; None without a match in some order."""
    from sacrebleu.metrics import BLEU

    texts = [" ".join(part) for part in words]
    stats = BLEU(tokenize="none")._extract_corpus_statistics([texts[0]], [[texts[1]]])
    sums = np.array(stats, dtype=float)
    return float(FORMULAS["BLEU"].score(sums)[0]) if (sums[0, 2:6] > 0).all() else None


def test_bleu_is_llama_factorys_where_every_order_has_a_match():
    from bench.similarity_peer import similarity

    compared = 0
    for reply, reference in itertools.islice(replies(), 120):
        values = metrics.reply_values([reply], [reference])
        sums = np.array([[values[part][0] for part in metrics.columns("BLEU")]])
        alike = list(reply) == list(tokenize(reply)) and list(reference) == list(
            tokenize(reference)
        )
        if alike and (sums[0, 2:6] > 0).all():
            ours = float(FORMULAS["BLEU"].score(sums)[0])
            assert similarity(reply, reference)["bleu-4"] == pytest.approx(ours, abs=1e-4)
            compared += 1
    assert compared >= 50


def test_where_words_repeat_rouge_chinese_counts_each_once():
    """The disagreement that is known: pure repetition is full marks there."""
    from rouge_chinese import Rouge

    scores = Rouge().get_scores("好 的 好 的 好 的 好 的", "好 的")[0]
    assert scores["rouge-1"]["f"] == pytest.approx(1, abs=1e-6)
    assert rouge(["好", "的"] * 4, ["好", "的"])[0] == pytest.approx(0.4)
