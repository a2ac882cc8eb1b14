"""Scores of replies against references, for Chinese and English: BLEU, chrF, ROUGE and what must
stand beside them.

Overlap with a reference says whether tuning changed the replies, not whether they are good. So
every score comes with an interval over dialogues, with floors (replies that nobody would call
counselling), and with diversity, repetition, length and empty counts. An empty reply is a reply
and scores 0.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

# Han (with extensions) and kana: written without spaces, so one character is one token.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = rf"(?:(?![{CJK}_])\w)+"
# A word keeps its inner hyphens and apostrophes ("phq-9", "don't"), a number its decimal point.
TOKEN = re.compile(rf"[{CJK}]|{WORD}(?:(?:[-'’]|(?<=\d)\.(?=\d)){WORD})*|\S")
TOKENIZER_SIGNATURE = "tok:cjk-char+word|case:lower|punct:kept"
ROUGE = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
REPEAT_ORDER = 4
PERCENTILES = (2.5, 97.5)


@lru_cache(maxsize=1 << 16)
def tokenize(text: str) -> tuple[str, ...]:
    """Split text into CJK characters, whole words and numbers in lower case, and single
    punctuation marks.
    """
    return tuple(TOKEN.findall(text.lower()))


class ChineseTokenizer:
    """What rouge-score asks of a tokenizer. Its own keeps only a-z and 0-9, so that identical
    Chinese scores 0.
    """

    def tokenize(self, text: str) -> list[str]:
        return list(tokenize(text))


def is_chinese(text: str) -> bool:
    """True if at least half of the words of a text are CJK characters; punctuation does not
    count.
    """
    words = [token for token in tokenize(text) if token[0].isalnum()]
    return 2 * sum(re.match(f"[{CJK}]", word) is not None for word in words) >= max(len(words), 1)


@dataclass(frozen=True)
class Measure:
    """A metric of one system that can be computed for any resample: `score` of the sum of some
    rows of `statistics`.

    `statistics` has one row a reply, shape (replies, k).
    """

    name: str
    signature: str
    statistics: np.ndarray
    score: Callable[[np.ndarray], float]


def ratio(sums: np.ndarray) -> float:
    """First sum over second sum, or 0 where there is nothing to divide by."""
    return float(sums[0] / sums[1]) if sums[1] else 0.0


def sacrebleu_measure(
    name: str, metric: BLEU | CHRF, replies: Sequence[str], references: Sequence[str]
) -> Measure:
    """Corpus BLEU or chrF (0 to 100) through the statistics that sacrebleu itself sums over the
    segments.
    """
    statistics = metric._extract_corpus_statistics(replies, [references])

    def score(sums: np.ndarray) -> float:
        return float(metric._compute_score_from_stats(sums.astype(int).tolist()).score)

    return Measure(name, str(metric.get_signature()), np.array(statistics, dtype=float), score)


def rouge_measures(replies: Sequence[str], references: Sequence[str]) -> list[Measure]:
    """Mean over the replies of the ROUGE-1, ROUGE-2 and ROUGE-L F measures, times 100."""
    scorer = RougeScorer(list(ROUGE.values()), tokenizer=ChineseTokenizer())
    scores = [
        scorer.score(reference, reply) for reply, reference in zip(replies, references, strict=True)
    ]
    return [
        Measure(
            name,
            f"{kind}|f|mean:replies|x100|stem:no|{TOKENIZER_SIGNATURE}|version:{version('rouge-score')}",
            np.array([(100 * score[kind].fmeasure, 1) for score in scores]),
            ratio,
        )
        for name, kind in ROUGE.items()
    ]


def ngrams(text: str, order: int) -> list[tuple[str, ...]]:
    """The n-grams of a text's tokens, in order, repeats included."""
    tokens = tokenize(text)
    return [tokens[start : start + order] for start in range(len(tokens) - order + 1)]


def repetition_measure(replies: Sequence[str]) -> Measure:
    """Share (0 to 1) of all 4-grams that stood in the same reply before."""
    grams = [ngrams(reply, REPEAT_ORDER) for reply in replies]
    return Measure(
        "repetition",
        f"repeated {REPEAT_ORDER}-grams in a reply|{TOKENIZER_SIGNATURE}",
        np.array([(len(found) - len(set(found)), len(found)) for found in grams], dtype=float),
        ratio,
    )


def length_measure(replies: Sequence[str], references: Sequence[str]) -> Measure:
    """Tokens of all replies over tokens of all references."""
    lengths = [
        (len(tokenize(reply)), len(tokenize(ref)))
        for reply, ref in zip(replies, references, strict=True)
    ]
    return Measure(
        "length_ratio",
        f"tokens over reference tokens|{TOKENIZER_SIGNATURE}",
        np.array(lengths, float),
        ratio,
    )


def measures(replies: Sequence[str], references: Sequence[str]) -> list[Measure]:
    """All metrics of one system that have an interval."""
    return [
        sacrebleu_measure("BLEU", BLEU(tokenize="zh"), replies, references),
        sacrebleu_measure("chrF", CHRF(), replies, references),
        *rouge_measures(replies, references),
        repetition_measure(replies),
        length_measure(replies, references),
    ]


def distinct(replies: Sequence[str], order: int) -> float:
    """Different n-grams over all n-grams of all replies together (Li et al. 2016, arXiv
    1510.03055).

    It has no interval: a bootstrap draws dialogues twice and so always finds less diversity than
    there is.
    """
    grams = Counter(gram for reply in replies for gram in ngrams(reply, order))
    return len(grams) / max(grams.total(), 1)


def counted(
    replies: Sequence[str], finish_reasons: Sequence[str] | None
) -> list[tuple[str, str, float]]:
    """Metrics without an interval, as (name, signature, value). Floors are not generated: they
    have no finish reasons.
    """
    found = [
        (
            f"distinct-{order}",
            f"distinct {order}-grams|{TOKENIZER_SIGNATURE}",
            distinct(replies, order),
        )
        for order in (1, 2)
    ]
    found.append(
        ("empty", "count|no character but space", sum(not reply.strip() for reply in replies))
    )
    if finish_reasons is not None:
        found.append(
            (
                "truncated",
                "count|finish_reason:length",
                sum(why == "length" for why in finish_reasons),
            )
        )
    return found


def resample_counts(dialogues: int, resamples: int, seed: int) -> np.ndarray:
    """How often each dialogue is drawn in each bootstrap resample, shape (resamples, dialogues)."""
    draws = np.random.default_rng(seed).multinomial(
        dialogues, np.full(dialogues, 1 / dialogues), size=resamples
    )
    return draws.astype(float)


def resampled_scores(
    measure: Measure, dialogue_index: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """The metric on every resample, shape (resamples,). A dialogue is drawn with all its turns:
    they are not independent.
    """
    sums = np.zeros((counts.shape[1], measure.statistics.shape[1]))
    np.add.at(sums, dialogue_index, measure.statistics)
    return np.array([measure.score(row) for row in counts @ sums])


def p_value(differences: np.ndarray, observed: float) -> float:
    """Two-sided p of a paired bootstrap: how often the centred difference is at least as large as
    the observed one.

    As in sacrebleu (Riezler and Maxwell 2005, W05-0908) but with >=, so that a system against
    itself gives 1.
    """
    centred = np.abs(differences - differences.mean())
    return float((np.sum(centred >= abs(observed)) + 1) / (len(differences) + 1))


def rounded(value: float) -> float | int:
    """Four decimals, enough for a table, and the same on every machine; never a negative zero.
    Counts stay whole.
    """
    return value if isinstance(value, int) else round(float(value), 4) + 0.0


def bounds(samples: np.ndarray) -> dict[str, float]:
    """The 95 % interval of bootstrap samples by percentiles."""
    low, high = np.percentile(samples, PERCENTILES)
    return {"low": rounded(low), "high": rounded(high)}


def compare(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    dialogues: Sequence[str],
    finish_reasons: Mapping[str, Sequence[str]],
    *,
    seed: int,
    resamples: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Score the replies of every system, and tuned against base on the same resamples.

    `systems` maps base, tuned and the floors to their replies, in the order of `references` and
    `dialogues` (the dialogue of each reply). Returns the rows (system, metric, value, low, high,
    n, n_dialogues, signature) and the paired differences tuned - base (metric, difference, low,
    high, p, n_dialogues).
    """
    names, index = np.unique(np.array(dialogues), return_inverse=True)
    counts = resample_counts(len(names), resamples, seed)
    sizes = {"n": len(references), "n_dialogues": len(names)}
    rows: list[dict[str, Any]] = []
    values: dict[tuple[str, str], tuple[float, np.ndarray]] = {}
    for system, replies in systems.items():
        for measure in measures(replies, references):
            value, samples = (
                measure.score(measure.statistics.sum(axis=0)),
                resampled_scores(measure, index, counts),
            )
            values[system, measure.name] = value, samples
            row = {
                "system": system,
                "metric": measure.name,
                "value": rounded(value),
                "signature": measure.signature,
            }
            rows.append(row | bounds(samples) | sizes)
        for name, signature, value in counted(replies, finish_reasons.get(system)):
            row = {
                "system": system,
                "metric": name,
                "value": rounded(value),
                "signature": signature,
            }
            rows.append(row | {"low": None, "high": None} | sizes)
    paired = []
    for metric in [metric for system, metric in values if system == "base"]:
        (base, base_samples), (tuned, tuned_samples) = (
            values["base", metric],
            values["tuned", metric],
        )
        samples, difference = tuned_samples - base_samples, tuned - base
        row = {
            "metric": metric,
            "difference": rounded(difference),
            "p": rounded(p_value(samples, difference)),
        }
        paired.append(row | bounds(samples) | {"n_dialogues": len(names)})
    return rows, paired


def random_references(references: Sequence[str], dialogues: Sequence[str], seed: int) -> list[str]:
    """For every reply, a reference drawn from another dialogue, in the same language if another
    dialogue has one.

    There must be at least two dialogues.
    """
    rng = random.Random(seed)
    chinese = [is_chinese(reference) for reference in references]
    everything = range(len(references))
    pools = {
        language: [i for i in everything if chinese[i] is language] for language in (True, False)
    }
    drawn = []
    for position in everything:
        pool: Sequence[int] = pools[chinese[position]]
        if len({dialogues[i] for i in pool}) < 2:
            pool = everything
        choice = rng.choice(pool)
        while dialogues[choice] == dialogues[position]:
            choice = rng.choice(pool)
        drawn.append(references[choice])
    return drawn


def floors(
    rows: Sequence[Mapping[str, Any]], fixed_line: Mapping[str, str], seed: int
) -> dict[str, list[str]]:
    """Replies with no counselling in them: another dialogue's reference, the client's own words,
    one kind sentence.

    `rows` are reply rows ("dialogue", "prompt", "reference"); `fixed_line` has the sentence in
    "zh" and in "en".
    """
    references = [row["reference"] for row in rows]
    return {
        "floor:random": random_references(references, [row["dialogue"] for row in rows], seed),
        "floor:echo": [
            [m["content"] for m in row["prompt"] if m["role"] == "user"][-1] for row in rows
        ],
        "floor:fixed": [
            fixed_line["zh" if is_chinese(reference) else "en"] for reference in references
        ],
    }
