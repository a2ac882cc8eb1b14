"""Time the data stage on large corpora made from real dialogues, against the tools that others use.

Reads   ShareGPT files of real dialogues (--sharegpt), a tokenizer folder; peers from a Python with
        them installed (--peers)
Writes  docs/records/data-stage.json, data-near-duplicates.json, data-tokens.json

The corpora lie in a scratch folder that is removed afterwards. Peers are measured on the same rows
in the same run.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench import corpus as bench_corpus
from bench import peers as bench_peers
from bench.measuring import head, timed
from mindtune.chat_template import load_chat, to_messages
from mindtune.cli import UserError, run
from mindtune.config import read_schema, with_defaults
from mindtune.data.duplicates import grams, jaccard, spoken_text
from mindtune.records import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
MAX_TOKENS, THRESHOLD, SEED = 3072, 0.8, 42
PARTS = ("tokens", "near", "stage")
STAGE_TARGET = {"minutes_at_1000000": 10, "gb": 4, "slope": 1.1, "recall": 0.95, "precision": 0.99}


def settings() -> tuple[dict[str, Any], dict[str, Any]]:
    """The cleaning's and the split's settings by the schema's defaults."""
    schema = read_schema()
    data = with_defaults({}, schema["properties"]["data"])
    contamination = {key: value for key, value in data["contamination"].items() if key != "files"}
    return data["clean"] | {"max_tokens": MAX_TOKENS}, data["split"] | {
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
        "--clean", out / "clean.jsonl", "--rejected", out / "rejected.jsonl", "--record",
        out / "clean.json",
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


def planted(corpus: Path) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """({copy: original}, the pairs that are similar enough to be found)."""
    with corpus.open("rb") as stream:
        copies = {
            row["id"]: row["copy_of"] for row in map(orjson.loads, stream) if "copy_of" in row
        }
        members = {*copies, *copies.values()}
        stream.seek(0)
        spoken = {
            row["id"]: spoken_text(row["conversations"])
            for row in map(orjson.loads, stream)
            if row["id"] in members
        }
    pairs = {
        (copy, original)
        for copy, original in copies.items()
        if jaccard(grams(spoken[copy], 5), grams(spoken[original], 5)) >= THRESHOLD
    }
    return copies, pairs


def quality(
    removed: set[str], present: set[str], copies: dict[str, str], pairs: set[tuple[str, str]]
) -> dict[str, float]:
    """Recall over similar planted pairs of rows that were looked at; precision: removed rows that
    belong to a planted pair.
    """
    looked_at = [pair for pair in pairs if set(pair) <= present]
    found = sum(bool(removed & set(pair)) for pair in looked_at)
    members = set(copies) | set(copies.values())
    return {
        "recall": round(found / max(1, len(looked_at)), 4),
        "precision": round(len(removed & members) / max(1, len(removed)), 4),
    }


def measure_stage(
    sizes: Sequence[int], scratch: Path, pool: bench_corpus.Pool, tokenizer: Path
) -> dict[str, Any]:
    """The whole data stage at each size."""
    runs = []
    for size in sizes:
        corpus, out = scratch / f"{size}/raw/corpus.jsonl", scratch / f"{size}"
        bench_corpus.write(corpus, pool, size, SEED)
        cleaned, parted = stage(corpus, out, tokenizer)
        rejected = [
            orjson.loads(line) for line in (out / "rejected.jsonl").read_bytes().splitlines()
        ]
        near = {row["id"] for row in rejected if row["reasons"][0] == "near_duplicate"}
        others = {row["id"] for row in rejected} - near
        copies, pairs = planted(corpus)
        facts = read_json(out / "clean.json")["facts"]
        held_out_facts = read_json(out / "split.json")["facts"]["contamination"]
        present = {f"bench-{number}" for number in range(size)} - others
        runs.append({
            "dialogues": size,
            "mb": round(corpus.stat().st_size / 1e6, 1),
            "characters_a_dialogue": round(facts_characters(corpus), 1),
            "clean_s": cleaned["s"], "clean_cpu_s": cleaned["cpu_s"], "split_s": parted["s"],
            "split_cpu_s": parted["cpu_s"],
            "minutes": round((cleaned["s"] + parted["s"]) / 60, 3),
            "dialogues_a_s": round(size / (cleaned["s"] + parted["s"])),
            "peak_gb": max(cleaned["gb"], parted["gb"]), "tokens": facts["tokens"]["sum"],
            "kept": facts["kept"],
            "left_out_for_held_out_texts": held_out_facts["removed"],
        } | quality(near, present, copies, pairs))  # fmt: skip
        for path in out.glob("*.jsonl"):
            path.unlink()
    first, last = runs[0], runs[-1]
    cpu = [row["clean_cpu_s"] + row["split_cpu_s"] for row in (first, last)]
    slope = (
        math.log(cpu[1] / cpu[0]) / math.log(last["dialogues"] / first["dialogues"])
        if len(runs) > 1
        else None
    )
    met = (
        last["dialogues"] >= 1_000_000
        and last["minutes"] <= 10
        and last["peak_gb"] <= 4
        and slope is not None
        and slope <= 1.1
        and all(row["recall"] >= 0.95 and row["precision"] >= 0.99 for row in runs)
    )
    note = (
        f"Growth in log-log, of CPU seconds: {slope and round(slope, 3)}. Two processes "
        "clean, split and look for held-out texts. Recall counts planted copies with a Jaccard "
        "similarity of 0.8 or more of which neither was rejected for something else. Sentences "
        "are drawn from the real dialogues, so the larger the corpus, the more of it quotes a "
        "reply of its test side and is left out of training. Wall time includes whatever else "
        "the machine did."
    )
    what = "The data stage: clean, deduplicate, count tokens, split"
    return record(what, runs, STAGE_TARGET, met, note)


def facts_characters(corpus: Path) -> float:
    """Characters a dialogue, on the first 10,000."""
    with corpus.open("rb") as stream:
        rows = [orjson.loads(line) for _, line in zip(range(10_000), stream, strict=False)]
    return sum(len(turn["value"]) for row in rows for turn in row["conversations"]) / len(rows)


def measure_near(size: int, scratch: Path, pool: bench_corpus.Pool, peers: str) -> dict[str, Any]:
    """Near-duplicate search alone, ours and the peers', on the same rows."""
    corpus = scratch / "near.jsonl"
    bench_corpus.write(corpus, pool, size, SEED)
    copies, pairs = planted(corpus)
    ids = {f"bench-{number}" for number in range(size)}
    plain = scratch / "plain.jsonl"
    bench_peers.write_plain(corpus, plain)
    tools: dict[str, Callable[[Path], list[Any]]] = {
        "ours": lambda kept: [sys.executable, "-m", "bench.peers", "ours", plain, kept],
        "rensa loop": lambda kept: [sys.executable, "-m", "bench.peers", "rensa", plain, kept],
    }
    if peers:
        tools["convmerge"] = lambda kept: [
            Path(peers).with_name("convmerge"),
            "dedupe",
            "--near",
            "--workers",
            2,
            "-i",
            plain,
            "-o",
            kept,
        ]
        tools["datatrove cmn_Hani"] = lambda kept: [
            peers,
            "-m",
            "bench.peers",
            "datatrove",
            plain,
            kept,
        ]
    runs = []
    for name, command in tools.items():
        kept = scratch / f"kept-{name.split()[0]}.jsonl"
        took = timed(command(kept), OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT / "scripts"))
        removed = ids - {orjson.loads(line)["id"] for line in kept.read_bytes().splitlines()}
        runs.append(
            {"tool": name, "dialogues": size, **took, "dialogues_a_s": round(size / took["s"])}
            | quality(removed, ids, copies, pairs)
        )
    rates = {row["tool"]: row["dialogues_a_s"] for row in runs}
    ratios = {
        tool: round(rates["ours"] / rate, 2) for tool, rate in rates.items() if tool != "ours"
    }
    wanted = {"convmerge": 5, "datatrove cmn_Hani": 5, "rensa loop": 1}
    met = set(ratios) == set(wanted) and all(
        ratios[tool] >= least for tool, least in wanted.items()
    )
    return record("Near-duplicates of dialogues, the search "
"alone", runs, {f"times {tool}": least for tool, least in wanted.items()}, met,
                  f"Ours is "
f"{', '.join(f'{ratio} times {tool}' for tool, ratio in ratios.items())}. One process but "
f"convmerge's two workers "
                  "and datatrove's two; reading and writing included.")  # fmt: skip


def measure_tokens(scratch: Path, pool: bench_corpus.Pool, tokenizer: Path) -> dict[str, Any]:
    """Exact token counts of rendered dialogues against `encode_batch`, the same texts, two
    threads.
    """
    corpus, chat = scratch / "tokens.jsonl", load_chat(tokenizer)
    bench_corpus.write(corpus, pool, 8_000, SEED)
    rows = [orjson.loads(line)["conversations"] for line in corpus.read_bytes().splitlines()]
    texts = [chat.render(to_messages(row)) for row in rows]
    batches = [texts[start : start + 400] for start in range(0, len(texts), 400)]

    def plain(batch: list[str]) -> list[int]:
        return [
            len(one.ids) for one in chat.tokenizer.encode_batch(batch, add_special_tokens=False)
        ]

    runs, counts = [], {}
    for _ in range(3):
        for name, count in (("ours", chat.count), ("encode_batch", plain)):
            chat.counted.clear()
            start, cpu = time.monotonic(), time.process_time()
            counts[name] = [tokens for batch in batches for tokens in count(batch)]
            took, cpu = time.monotonic() - start, time.process_time() - cpu
            runs.append(
                {
                    "way": name,
                    "tokens": sum(counts[name]),
                    "s": round(took, 2),
                    "cpu_s": round(cpu, 2),
                    "tokens_a_s": round(sum(counts[name]) / took),
                }
            )
    if counts["ours"] != counts["encode_batch"] or chat.encode(texts[:2000]) != [
        one.ids for one in chat.tokenizer.encode_batch(texts[:2000], add_special_tokens=False)
    ]:
        raise AssertionError("our token counts or ids differ from encode_batch")
    best = {name: min(row["cpu_s"] for row in runs if row["way"] == name) for name in counts}
    ratio = round(best["encode_batch"] / best["ours"], 3)
    note = (
        f"{ratio} times encode_batch by CPU seconds, best of three each (wall time includes "
        "whatever else the machine did); the count of every text and the ids of 2,000 are the same."
    )
    return record("Exact token counts", runs, {"times encode_batch": 1.3}, ratio >= 1.3, note)


def record(
    what: str, runs: list[dict[str, Any]], target: dict[str, Any], met: bool, note: str
) -> dict[str, Any]:
    """A measurement record as scripts/tools/write_measurements.py reads it."""
    return {
        **head(what, "make bench-data", ["rensa", "tokenizers", "orjson"]),
        "runs": runs, "target": target, "met": met, "note": note,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sharegpt",
        type=Path,
        required=True,
        help="folder of ShareGPT JSONL files of real dialogues",
    )
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, required=True)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        required=True,
        help="dialogues of the stage's corpora, ascending",
    )
    parser.add_argument(
        "--near-size", type=int, required=True, help="dialogues of the near-duplicate comparison"
    )
    parser.add_argument(
        "--peers", default="", help="Python of an environment with convmerge[quality] and datatrove"
    )
    parser.add_argument("--records", type=Path, required=True)
    arguments = parser.parse_args()
    files = sorted(arguments.sharegpt.glob("*.jsonl"))
    if not files:
        raise UserError(
            f"--sharegpt: {arguments.sharegpt} holds no .jsonl file; give a folder of ShareGPT "
            f"dialogues"
        )
    pool = bench_corpus.read_pool(files)
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        if "tokens" in arguments.parts:
            write_json(
                arguments.records / "data-tokens.json",
                measure_tokens(scratch, pool, arguments.tokenizer),
            )
        if "near" in arguments.parts:
            near = measure_near(arguments.near_size, scratch, pool, arguments.peers)
            write_json(arguments.records / "data-near-duplicates.json", near)
        if "stage" in arguments.parts:
            found = measure_stage(arguments.sizes, scratch, pool, arguments.tokenizer)
            write_json(arguments.records / "data-stage.json", found)


if __name__ == "__main__":
    raise SystemExit(run(main))
