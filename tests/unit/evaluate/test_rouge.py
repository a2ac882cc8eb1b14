"""ROUGE equals rouge-score's to the last digit, and its longest common subsequence a plain
table's.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from mindtune.evaluate.rouge import lcs_length, rouge
from mindtune.evaluate.tokens import tokenize
from replies import column
from rouge_score.rouge_scorer import RougeScorer

TEXT = st.text(alphabet="我你失眠 好，。ab15", max_size=90)


class GivenTokens:
    """What rouge-score asks of a tokenizer."""

    def tokenize(self, text):
        return list(tokenize(text))


def table_lcs(first, second):
    """The textbook's table."""
    row = [0] * (len(second) + 1)
    for one in first:
        above = row[:]
        for place, other in enumerate(second):
            row[place + 1] = above[place] + 1 if one == other else max(above[place + 1], row[place])
    return row[-1]


@settings(deadline=None, max_examples=200)
@given(TEXT, TEXT)
def test_the_bits_are_the_table(first, second):
    assert lcs_length(first, second) == table_lcs(first, second)


def assert_equal_to_rouge_score(reply, reference):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=GivenTokens())
    theirs = tuple(score.fmeasure for score in scorer.score(reference, reply).values())
    assert rouge(tokenize(reply), tokenize(reference)) == theirs


@settings(deadline=None, max_examples=200)
@given(TEXT, TEXT)
def test_any_text_scores_as_in_rouge_score(reply, reference):
    assert_equal_to_rouge_score(reply, reference)


def test_replies_score_as_in_rouge_score():
    for reply, reference in zip(column(4) + column(3), column(2) * 2, strict=True):
        assert_equal_to_rouge_score(reply, reference)


def test_identical_chinese_scores_1():
    assert rouge(tokenize("我睡不着。"), tokenize("我睡不着。")) == (1, 1, 1)
