"""The whole data stage, by its programs, on corpora that grow."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from bench import corpus as bench_corpus
from bench import leaks
from bench.data_speed import record
from bench.measuring import timed
from mindtune.config import read_schema, with_defaults
from mindtune.data.contamination import LONG
from mindtune.records import read_json

ROOT = Path(__file__).resolve().parents[2]
MAX_TOKENS, SEED = 3072, 42
STAGE_TARGET = {
    "minutes_at_1000000": 10, "gb": 4, "slope": 1.1, "recall": 0.95, "precision": 0.99,
    "dropped_beyond_planted": 0.01,
}  # fmt: skip


def settings() -> tuple[dict[str, Any], dict[str, Any]]:
    """The cleaning's and the split's settings by the schema's defaults."""
    schema = read_schema()
    data = with_defaults({}, schema["properties"]["data"])
    contamination = {key: value for key, value in data["contamination"].items() if key != "files"}
    return data["clean"] | {"max_tokens": MAX_TOKENS, "fields": {}}, data["split"] | {
        "contamination": contamination
    }


def stage(corpus: Path, out: Path, tokenizer: Path) -> list[dict[str, Any]]:
    """Clean (deduplicate, count tokens) and split one corpus with the programs of the workflow, on
    two processes.
    """
    clean, split = map(json.dumps, settings())
    cleaned = timed([
        sys.executable, ROOT / "scripts/clean_dialogues.py", "--raw", corpus.parent, "--tokenizer",
            tokenizer,
        "--hotlines", ROOT / "config/hotlines.yaml", "--settings", clean, "--source-name", "bench",
        "--threads", 2,
        "--clean", out / "clean.jsonl", "--rejected", out / "rejected.jsonl", "--crisis",
        out / "crisis.jsonl", "--record", out / "clean.json",
    ], OMP_NUM_THREADS="1")  # fmt: skip
    held_out = [
        ROOT / "resources/knowledge/questions.jsonl",
        ROOT / "resources/crisis/prompts.jsonl",
    ]
    sides = [
        part for side in ("train", "dev", "test") for part in (f"--{side}", out / f"{side}.jsonl")
    ]
    parted = timed([
        sys.executable, ROOT / "scripts/split_dialogues.py", "--clean", out / "clean.jsonl",
            "--held-out", *held_out,
        "--settings", split, "--threads", 2, *sides, "--contamination", out / "contamination.jsonl",
        "--record", out / "split.json",
    ], OMP_NUM_THREADS="1")  # fmt: skip
    return [cleaned, parted]


def measure_size(size: int, out: Path, pool: bench_corpus.Pool, tokenizer: Path) -> dict[str, Any]:
    """Times, memory and what was found, of one corpus; its files go afterwards."""
    corpus = out / "raw/corpus.jsonl"
    bench_corpus.write(corpus, pool, size, SEED)
    cleaned, parted = stage(corpus, out, tokenizer)
    facts, seconds = read_json(out / "clean.json")["facts"], cleaned["s"] + parted["s"]
    row = {
        "dialogues": size,
        "mb": round(corpus.stat().st_size / 1e6, 1),
        "characters_a_dialogue": round(characters(corpus), 1),
        "clean_s": cleaned["s"], "clean_cpu_s": cleaned["cpu_s"], "split_s": parted["s"],
        "split_cpu_s": parted["cpu_s"],
        "minutes": round(seconds / 60, 3),
        "dialogues_a_s": round(size / seconds),
        "peak_gb": max(cleaned["gb"], parted["gb"]), "tokens": facts["tokens"]["sum"],
        "kept": facts["kept"],
        **leaks.near_dialogues(corpus, out), **leaks.near_first_turns(corpus, out),
        **leaks.held_out_replies(corpus, out),
    }  # fmt: skip
    for path in out.glob("*.jsonl"):
        path.unlink()
    return row


def meets_target(runs: Sequence[dict[str, Any]], slope: float | None) -> bool:
    """Whether STAGE_TARGET is met: speed and memory by the largest corpus, finding by all."""
    recalls = ("recall", "first_turn_recall", "copied_reply_recall")
    shares = [row[key] for row in runs for key in recalls]
    precise = [row[key] for row in runs for key in ("precision", "first_turn_precision")]
    last = runs[-1]
    return (
        last["dialogues"] >= 1_000_000 and last["minutes"] <= 10 and last["peak_gb"] <= 4
        and slope is not None and slope <= 1.1 and min(shares) >= 0.95 and min(precise) >= 0.99
        and last["dropped_beyond_planted"] < 0.01
    )  # fmt: skip


def measure_stage(
    sizes: Sequence[int], scratch: Path, pool: bench_corpus.Pool, tokenizer: Path
) -> dict[str, Any]:
    """The whole data stage at each size."""
    runs = [measure_size(size, scratch / f"{size}", pool, tokenizer) for size in sizes]
    slope = growth(runs)
    note = (
        f"Growth in log-log, of CPU seconds: {slope and round(slope, 3)}. Two processes clean, "
        "split and look for held-out texts. Recall counts planted copies with a Jaccard similarity "
        "of 0.8 or more of which neither was rejected for something else; first_turn_*: planted "
        "first turns of that similarity, in one group; copied_reply_recall: replies of the dev and "
        f"test sides, of {LONG} characters or more, planted whole in a longer training turn. "
        "dropped_beyond_planted: the share of dialogues left out for held-out texts that nobody "
        "planted; sentences are drawn from the real dialogues, so some replies share half their "
        "text by chance. Wall time includes whatever else the machine did."
    )
    what = "The data stage: clean, deduplicate, count tokens, split"
    return record(what, runs, STAGE_TARGET, meets_target(runs, slope), note)


def growth(runs: Sequence[dict[str, Any]]) -> float | None:
    """The exponent of CPU seconds over dialogues, of the smallest and the largest corpus."""
    if len(runs) < 2:
        return None
    first, last = runs[0], runs[-1]
    cpu = [row["clean_cpu_s"] + row["split_cpu_s"] for row in (first, last)]
    return math.log(cpu[1] / cpu[0]) / math.log(last["dialogues"] / first["dialogues"])


def characters(corpus: Path) -> float:
    """Characters a dialogue, on the first 10,000."""
    with corpus.open("rb") as stream:
        rows = [orjson.loads(line) for _, line in zip(range(10_000), stream, strict=False)]
    return sum(len(turn["value"]) for row in rows for turn in row["conversations"]) / len(rows)
