"""Time the scoring of replies: item scores, floors, comparison and a bootstrap, at growing sizes.

Reads   resources/dialogues/zh.jsonl, whose sentences are put together to replies of about 90
        characters by a seed
Writes  docs/records/scoring.json (--record)
"""

import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import timed, write_measurement
from mindtune.cli import argument_parser, run
from mindtune.evaluate import metrics
from mindtune.evaluate.intervals import ratio
from mindtune.evaluate.parts import FORMULAS
from mindtune.evaluate.rouge import rouge
from mindtune.evaluate.tokens import tokenize
from mindtune.records import read_jsonl, write_jsonl

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = re.compile(r"[^。！？]+[。！？]?")
CHARACTERS, TURNS, RESAMPLES, SEED = 90, 8, 1000, 42
SETTINGS = {"seed": SEED, "fixed_line": {"zh": "谢谢你愿意告诉我这些。", "en": "Thank you."}}
# LLaMA-Factory's set (jieba, rouge_chinese, nltk) took 72 s for 10,000 replies on such a machine.
TARGET = {"s for 10,000": 40, "GB": 0.8, "ROUGE s": 3.6, "slope": 1.3}


def texts(count: int, rng: random.Random) -> list[str]:
    """Made-up replies from the sentences of the bundled counsellors."""
    sentences = [
        sentence
        for row in read_jsonl(ROOT / "resources/dialogues/zh.jsonl")
        for turn in row["conversations"]
        if turn["from"] == "gpt"
        for sentence in SENTENCE.findall(turn["value"])
    ]
    found = []
    for _ in range(count):
        reply = ""
        while len(reply) < CHARACTERS:
            reply += rng.choice(sentences)
        found.append(reply)
    return found


def write_replies(folder: Path, count: int) -> None:
    """base.jsonl and tuned.jsonl with so many replies, in dialogues of TURNS turns."""
    rng = random.Random(SEED)
    references, clients = texts(count, rng), texts(count, rng)
    for name in ("base", "tuned"):
        rows = (
            {
                "id": f"{place // TURNS}#{place % TURNS}",
                "dialogue": str(place // TURNS),
                "prompt": [{"role": "user", "content": clients[place]}],
                "reference": references[place],
                "reply": reply,
                "finish_reason": "stop",
            }
            for place, reply in enumerate(texts(count, rng))
        )
        write_jsonl(folder / f"{name}.jsonl", rows)


def score(folder: Path, count: int) -> dict[str, float]:
    """Seconds and GB of the program on so many replies of two systems, floors included."""
    write_replies(folder, count)
    program = [sys.executable, ROOT / "scripts/score_dialogue.py"]
    flags = {"base": "base.jsonl", "tuned": "tuned.jsonl", "items": "i.parquet", "scores": "s.json"}
    paths = [part for flag, name in flags.items() for part in (f"--{flag}", folder / name)]
    settings = ["--settings", json.dumps(SETTINGS), "--run", "main"]
    return timed([*program, *paths, *settings], OMP_NUM_THREADS="1")


def bootstrap_seconds(replies: Sequence[str], references: Sequence[str]) -> float:
    """Seconds of a bootstrap over dialogues of every metric of two systems: what the jackknife
    replaced, and what others do.
    """
    values = metrics.reply_values(replies, references)
    home = np.arange(len(replies)) // TURNS
    start, count = time.monotonic(), int(home.max()) + 1
    draws = np.random.default_rng(SEED).multinomial(
        count, np.full(count, 1 / count), size=RESAMPLES
    )
    for name in metrics.signatures():
        if name in FORMULAS:
            columns, formula = (
                [values[part] for part in metrics.columns(name)],
                FORMULAS[name].score,
            )
        elif name in values:
            columns, formula = [values[name], np.ones(len(replies))], ratio
        else:
            continue
        sums = np.stack([np.bincount(home, column) for column in columns], axis=1)
        for _ in ("base", "tuned"):
            formula(draws @ sums)
    return round(time.monotonic() - start, 2)


def rouge_seconds(replies: Sequence[str], references: Sequence[str]) -> float:
    """CPU seconds of ROUGE-1, ROUGE-2 and ROUGE-L of one system, tokens included."""
    tokenize.cache_clear()
    start = time.process_time()
    for reply, reference in zip(replies, references, strict=True):
        rouge(tokenize(reply), tokenize(reference))
    return round(time.process_time() - start, 2)


def measure(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """A row a size."""
    rows = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            taken = score(Path(folder), count)
        rng = random.Random(SEED)
        both = texts(count, rng), texts(count, rng)
        rows.append(
            {"replies": count, "systems": 2}
            | {"s": taken["s"], "cpu s": taken["cpu_s"], "GB": taken["gb"]}
            | {"bootstrap s": bootstrap_seconds(*both), "ROUGE s": rouge_seconds(*both)}
        )
    return rows


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2500, 5000, 10000])
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()

    rows = measure(args.sizes)
    first, last = rows[0], rows[-1]
    slope = np.log(last["cpu s"] / first["cpu s"]) / np.log(last["replies"] / first["replies"])
    found = {
        "s for 10,000": round(last["cpu s"] + last["bootstrap s"], 2),
        "GB": last["GB"],
        "ROUGE s": last["ROUGE s"],
        "slope": round(float(slope), 2),
    }
    write_measurement(
        args.record,
        "Scoring of replies of two systems, floors included",
        packages=["numpy", "sacrebleu", "pandas", "pyarrow"],
        runs=rows,
        median=found,
        target=TARGET,
        met={name: found[name] <= bound for name, bound in TARGET.items()},
        note=f"Replies of about {CHARACTERS} characters, {TURNS} a dialogue; CPU seconds of one "
        f"core, as "
        f"the machine is shared. The bootstrap has {RESAMPLES:,} resamples of dialogues and is not "
        f"part of "
        "the program, whose intervals need none. slope is that of the seconds over the replies, "
        "both "
        "as logarithms: 1 is linear.",
    )
    print(rows, found)


if __name__ == "__main__":
    raise SystemExit(run(main))
