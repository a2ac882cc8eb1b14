"""LLaMA-Factory's similarity of replies as its source computes it (ComputeSimilarity in
src/llamafactory/train/sft/metric.py): words by jieba, ROUGE by rouge_chinese, BLEU by nltk over
characters. ms-swift took it over.

`python similarity_peer.py` reads [reply, reference] as JSON lines and writes one object a line,
then {"cpu_s": seconds}. It needs jieba, rouge-chinese and nltk and nothing of ours, so that it runs
in an environment of its own.
"""

import json
import sys
import time


def similarity(reply: str, reference: str) -> dict[str, float]:
    """Its values for one pair, from 0 to 100."""
    import jieba
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_chinese import Rouge

    words, wanted = list(jieba.cut(reply)), list(jieba.cut(reference))
    found = {"rouge-1": 0.0, "rouge-2": 0.0, "rouge-l": 0.0}
    if " ".join(words).split() and " ".join(wanted).split():
        scores = Rouge().get_scores(" ".join(words), " ".join(wanted))[0]
        found = {name: round(score["f"] * 100, 4) for name, score in scores.items()}
    smooth = SmoothingFunction().method3
    bleu = sentence_bleu([list(reference)], list(reply), smoothing_function=smooth)
    return found | {"bleu-4": round(bleu * 100, 4)}


def main() -> None:
    similarity("先读词典", "再开始计时")  # jieba reads its dictionary once
    pairs = [json.loads(line) for line in sys.stdin]
    start = time.process_time()
    for pair in pairs:
        print(json.dumps(similarity(*pair)))
    print(json.dumps({"cpu_s": round(time.process_time() - start, 2)}))


if __name__ == "__main__":
    main()
