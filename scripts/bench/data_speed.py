"""The near-duplicate search and the token counts alone, against the tools that others use."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from bench import corpus as bench_corpus
from bench import peers as bench_peers
from bench.leaks import planted, quality
from bench.measuring import head, timed
from mindtune.chat_template import load_chat, to_messages

ROOT = Path(__file__).resolve().parents[2]
SEED = 42


def near_tools(plain: Path, peers: str) -> dict[str, Callable[[Path], list[Any]]]:
    """{name: command line that keeps rows of `plain` in a file} of ours and of the peers that are
    installed.
    """

    def module(python: str, tool: str) -> Callable[[Path], list[Any]]:
        return lambda kept: [python, "-m", "bench.peers", tool, plain, kept]

    def convmerge(kept: Path) -> list[Any]:
        program = Path(peers).with_name("convmerge")
        return [program, "dedupe", "--near", "--workers", 2, "-i", plain, "-o", kept]

    tools = {"ours": module(sys.executable, "ours"), "rensa loop": module(sys.executable, "rensa")}
    if peers:
        tools |= {"convmerge": convmerge, "datatrove cmn_Hani": module(peers, "datatrove")}
    return tools


def measure_near(size: int, scratch: Path, pool: bench_corpus.Pool, peers: str) -> dict[str, Any]:
    """Near-duplicate search alone, ours and the peers', on the same rows."""
    corpus = scratch / "near.jsonl"
    bench_corpus.write(corpus, pool, size, SEED)
    copies, pairs = planted(corpus)
    ids = {f"bench-{number}" for number in range(size)}
    plain = scratch / "plain.jsonl"
    bench_peers.write_plain(corpus, plain)
    runs = []
    for name, command in near_tools(plain, peers).items():
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
    met = set(ratios) == set(wanted) and all(ratios[tool] >= wanted[tool] for tool in wanted)
    times = ", ".join(f"{ratio} times {tool}" for tool, ratio in ratios.items())
    return record(
        "Near-duplicates of dialogues, the search alone",
        runs,
        {f"times {tool}": least for tool, least in wanted.items()},
        met,
        f"Ours is {times}. One process but convmerge's two workers and datatrove's two; reading "
        "and writing included.",
    )


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
    return record("Exact token counts", runs, {"times encode_batch": 1.3}, ratio >= 1.3,
                  f"{ratio} times encode_batch by CPU seconds, best of three each (wall time includes whatever else the machine did); the count of every text and the ids of 2,000 are the same.")  # fmt: skip  # noqa: E501


def record(
    what: str, runs: list[dict[str, Any]], target: dict[str, Any], met: bool, note: str
) -> dict[str, Any]:
    """A measurement record as scripts/tools/write_measurements.py reads it."""
    return {
        **head(what, "make bench-data", ["rensa", "tokenizers", "orjson"]),
        "runs": runs, "target": target, "met": met, "note": note,
    }  # fmt: skip
