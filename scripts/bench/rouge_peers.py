"""Our ROUGE beside rouge-score's values and LLaMA-Factory's time, for bench_scoring.py."""

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from mindtune.evaluate.rouge import rouge
from mindtune.evaluate.tokens import tokenize

PEER = Path(__file__).with_name("similarity_peer.py")
PEER_PAIRS = 500  # LLaMA-Factory's time is linear in the pairs: each is scored alone


def rouge_seconds(replies: Sequence[str], references: Sequence[str]) -> float:
    """CPU seconds of ROUGE-1, ROUGE-2 and ROUGE-L of one system, tokens included."""
    tokenize.cache_clear()
    start = time.process_time()
    for reply, reference in zip(replies, references, strict=True):
        rouge(tokenize(reply), tokenize(reference))
    return round(time.process_time() - start, 2)


class GivenTokens:
    """What rouge-score asks of a tokenizer: its own keeps no Chinese."""

    def tokenize(self, text: str) -> list[str]:
        return list(tokenize(text))


def rouge_difference(replies: Sequence[str], references: Sequence[str]) -> float:
    """The largest difference of an F measure from rouge-score's own, on the same tokens."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=GivenTokens())
    return max(
        abs(ours - theirs.fmeasure)
        for reply, reference in zip(replies, references, strict=True)
        for ours, theirs in zip(
            rouge(tokenize(reply), tokenize(reference)),
            scorer.score(reference, reply).values(),
            strict=True,
        )
    )


def peer_seconds(python: Path, replies: Sequence[str], references: Sequence[str]) -> float:
    """CPU seconds that LLaMA-Factory's set would take for all pairs, from the first PEER_PAIRS."""
    pairs = list(zip(replies, references, strict=True))[:PEER_PAIRS]
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
    done = subprocess.run([python, PEER], input=lines, capture_output=True, text=True, check=True)
    taken = json.loads(done.stdout.splitlines()[-1])["cpu_s"]
    return round(taken * len(replies) / len(pairs), 1)
