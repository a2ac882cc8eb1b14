"""Scores of replies against references, for Chinese and English: BLEU, chrF, ROUGE and what must
stand beside them.

Overlap with a reference says whether tuning changed the replies, not whether they are good. So
diversity, repetition, length, empty and truncated replies stand beside it, and floors (floors.py).
An empty reply is a reply and scores 0.
"""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from mindtune.evaluate import tokens
from mindtune.evaluate.parts import FORMULAS
from mindtune.evaluate.rouge import VERSION, rouge
from mindtune.evaluate.tokens import ngrams, tokenize
from mindtune.processes import in_order

REPEAT_ORDER = 4
# Replies at a time: sacrebleu keeps every n-gram of their references.
CHUNK = 500
# One of each, because each remembers the words of the texts that it has seen.
SACREBLEU = {"BLEU": BLEU(tokenize="zh"), "chrF": CHRF()}
DISTINCT = {"distinct-1": 1, "distinct-2": 2}
ROUGE = ("ROUGE-1", "ROUGE-2", "ROUGE-L")


def signatures() -> dict[str, str]:
    """{metric: how it is computed}, in the order in which tables show them."""
    for metric in SACREBLEU.values():
        metric._extract_corpus_statistics(["a"], [["a"]])  # it counts the references for `nrefs`
    return {
        **{name: str(metric.get_signature()) for name, metric in SACREBLEU.items()},
        **{
            name: f"{name.lower()}|f|mean:replies|x100|stem:no|{tokens.SIGNATURE}|like:rouge-score "
            + VERSION
            for name in ROUGE
        },
        "repetition": f"repeated {REPEAT_ORDER}-grams in a reply|{tokens.SIGNATURE}",
        "length_ratio": f"tokens over reference tokens|{tokens.SIGNATURE}",
        "empty": "share|no character but space",
        "truncated": "share|finish_reason:length",
        **{
            name: f"distinct {order}-grams of all replies|{tokens.SIGNATURE}"
            for name, order in DISTINCT.items()
        },
    }


def columns(metric: str) -> list[str]:
    """The names of a metric's parts as they stand in item scores, NAME:PART."""
    return [f"{metric}:{part}" for part in FORMULAS[metric].parts]


def repeated(reply: str) -> tuple[int, int]:
    """4-grams that stood in the same reply before, and all 4-grams."""
    found = ngrams(reply, REPEAT_ORDER)
    return len(found) - len(set(found)), len(found)


def reply_values(replies: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
    """{metric or part: one value a reply, shape (replies,)}; there is at least one reply.

    BLEU and chrF are kept as the statistics that sacrebleu sums over the segments.
    """
    return several_values([replies], references)[0]


def several_values(
    several: Sequence[Sequence[str]], references: Sequence[str], threads: int = 1
) -> list[dict[str, np.ndarray]]:
    """As `reply_values`, for several systems with the same references, which are read once."""
    for replies in several:
        if len(replies) != len(references):
            raise ValueError(f"{len(replies)} replies and {len(references)} references")
    chunks = [
        ([replies[start : start + CHUNK] for replies in several], references[start : start + CHUNK])
        for start in range(0, len(references), CHUNK)
    ]
    parts = [part for _, part in in_order(lambda: chunk_values, chunks, min(threads, len(chunks)))]
    return [
        {name: np.concatenate([values[name] for values in found]) for name in found[0]}
        for found in zip(*parts, strict=True)
    ]


def chunk_values(
    chunk: tuple[Sequence[Sequence[str]], Sequence[str]],
) -> list[dict[str, np.ndarray]]:
    """The values of each of several systems' replies to as many references as sacrebleu may hold
    the n-grams of.
    """
    several, references = chunk
    for metric in SACREBLEU.values():
        metric._ref_cache = metric._cache_references([references])
    return [system_values(replies, references) for replies in several]


def system_values(replies: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
    """One system's values, against the references that sacrebleu was given last."""
    pairs = list(zip(replies, references, strict=True))
    overlap = [rouge(tokenize(reply), tokenize(reference)) for reply, reference in pairs]
    lengths = [(len(tokenize(reply)), len(tokenize(reference))) for reply, reference in pairs]
    found = {name: 100 * column for name, column in zip(ROUGE, np.array(overlap).T, strict=True)}
    several = {
        **{name: of._extract_corpus_statistics(replies, None) for name, of in SACREBLEU.items()},
        "repetition": [repeated(reply) for reply in replies],
        "length_ratio": lengths,
    }
    for metric, rows in several.items():
        found |= dict(zip(columns(metric), np.array(rows, dtype=float).T, strict=True))
    return found | {"empty": np.array([not reply.strip() for reply in replies], dtype=float)}


def distinct(replies: Sequence[str], order: int) -> float:
    """Different n-grams over all n-grams of all replies together (Li et al. 2016, arXiv
    1510.03055).

    It has no interval: a resample holds dialogues twice and so always finds less diversity than
    there is.
    """
    different, total = set(), 0
    for reply in replies:
        grams = ngrams(reply, order)
        different.update(grams)
        total += len(grams)
    return len(different) / max(total, 1)
