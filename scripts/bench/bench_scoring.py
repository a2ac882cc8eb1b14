"""Time the scoring of replies: item scores, floors, comparison and a bootstrap, at growing sizes;
and ROUGE beside rouge-score and LLaMA-Factory's set.

Reads   resources/dialogues/zh.jsonl, whose sentences are put together to replies of about 90
        characters by a seed
Writes  docs/records/scoring.json (--record)
"""

import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import meets, timed, write_measurement
from bench.rouge_peers import PEER_PAIRS, peer_seconds, rouge_difference, rouge_seconds
from mindtune.cli import argument_parser, run
from mindtune.evaluate import metrics
from mindtune.evaluate.intervals import ratio
from mindtune.evaluate.parts import FORMULAS
from mindtune.records import read_jsonl, write_jsonl

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = re.compile(r"[^。！？]+[。！？]?")
CHARACTERS, TURNS, RESAMPLES, SEED = 90, 8, 1000, 42
THREADS = 2  # as the rule has them
SETTINGS = {"seed": SEED, "fixed_line": {"zh": "谢谢你愿意告诉我这些。", "en": "Thank you."}}
TARGET = {
    "s for 10,000": 40,
    "GB": 0.8,
    "slope": 1.3,
    "difference from rouge-score": 0,
    "times faster": 20,
}


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
    settings = ["--settings", json.dumps(SETTINGS), "--run", "main", "--suite", "dialogue"]
    return timed([*program, *paths, *settings, "--threads", str(THREADS)], OMP_NUM_THREADS="1")


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


def measure(sizes: Sequence[int], python: Path) -> list[dict[str, Any]]:
    """A row a size."""
    rows = []
    for count in sizes:
        load = round(os.getloadavg()[0], 1)
        with tempfile.TemporaryDirectory() as folder:
            taken = score(Path(folder), count)
        rng = random.Random(SEED)
        both = texts(count, rng), texts(count, rng)
        rows.append(
            {"replies": count, "systems": 2, "load": load}
            | {"s": taken["s"], "cpu s": taken["cpu_s"], "GB": taken["gb"]}
            | {"bootstrap s": bootstrap_seconds(*both), "ROUGE s": rouge_seconds(*both)}
            | {"LLaMA-Factory s": peer_seconds(python, *both)}
        )
        print(rows[-1], flush=True)
    return rows


def found_in(rows: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """The figures that have a target, each the median of its runs."""

    def median(key: str, count: int) -> float:
        return statistics.median(row[key] for row in rows if row["replies"] == count)

    first, last = min(sizes), max(sizes)
    growth = np.log(median("cpu s", last) / median("cpu s", first)) / np.log(last / first)
    rng = random.Random(SEED)
    return {
        "s for 10,000": round(median("s", last) + median("bootstrap s", last), 2),
        "GB": median("GB", last),
        "slope": round(float(growth), 2),
        "difference from rouge-score": rouge_difference(texts(last, rng), texts(last, rng)),
        "times faster": round(median("LLaMA-Factory s", last) / median("ROUGE s", last), 1),
        "ROUGE s": median("ROUGE s", last),
        "LLaMA-Factory s": median("LLaMA-Factory s", last),
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2500, 5000, 10000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--peer", type=Path, required=True, help="a Python with jieba, rouge-chinese and nltk"
    )
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()

    rows = [row for _ in range(args.repeats) for row in measure(args.sizes, args.peer)]
    found = found_in(rows, args.sizes)
    write_measurement(
        args.record,
        "Scoring of replies of two systems, floors included",
        packages=["numpy", "sacrebleu", "pandas", "pyarrow"],
        runs=rows,
        median=found,
        target=TARGET,
        met=meets(found, TARGET, ["times faster"]),
        note=f"Replies of about {CHARACTERS} characters, {TURNS} a dialogue; {THREADS} processes. "
        "load is the machine's, of the last minute before. "
        f"The bootstrap has {RESAMPLES:,} resamples of dialogues and is no part of the program, "
        "whose intervals need none. slope is that of the seconds over the replies, both as "
        "logarithms: 1 is linear. ROUGE is for one system, tokens included; LLaMA-Factory's set "
        f"(jieba, rouge_chinese, nltk) was timed on {PEER_PAIRS} pairs and scaled.",
    )
    print(found)


if __name__ == "__main__":
    raise SystemExit(run(main))
