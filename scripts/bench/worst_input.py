"""What one row of 1 MB costs the cleaning, whatever stands in it: patterns that slow scans down."""

import json
import time
from pathlib import Path
from typing import Any

from bench.measuring import head
from mindtune.data.raw_row import RawRow
from mindtune.data.row_cleaning import Chunk, Worker

ROOT = Path(__file__).resolve().parents[2]
MB, MOST_SECONDS, TIMES = 1_000_000, 1.0, 3
# Each is said over and over, in one turn of 1 MB.
WORST = {
    "openings of comments": "<!--", "openings of scripts": "<script>", "open tags": "<a ",
    "open closing tags": "</", "tags": "<p a=", "entities in entities": "&amp;amp;",
    "entities": "&lt;", "one label": "医生：", "labels and sentences": "用户：你好。助手：",
    "brackets": "（", "square brackets": "[", "spaces": " ", "wide spaces": "\u3000",
    "spaces and lines": " \n", "digits": "1", "digits and spaces": "1 ", "wide digits": "１",
    "begun numbers": "400 ", "begun addresses": "a@", "begun domains": "a.", "emoji": "😀",
    "joined emoji": "😀\u200d", "lone surrogates": "\ud800", "a letter": "a", "Chinese": "我很难过",
    "Chinese sentences": "我很难过。", "words of a crisis": "想死", "ticks": "`", "bars": "|",
    "wrong encoding": "ä½", "accents": "e\u0301",
}  # fmt: skip


def seconds(worker: Worker, unit: str, size: int, times: int = 1) -> float:
    """The fewest CPU seconds of cleaning one row with a counsellor's turn of `size` bytes."""
    text = unit * (size // len(unit.encode("utf-8", "surrogatepass")))
    turns = [{"from": "human", "value": "我很难过。"}, {"from": "gpt", "value": text}]
    row = RawRow(1, 0, json.dumps({"conversations": turns}).encode())
    took = []
    for _ in range(times):
        start = time.process_time()
        worker.work(Chunk("worst.jsonl", [row]))
        took.append(time.process_time() - start)
    return min(took)


def measure_worst(settings: dict[str, Any], tokenizer: Path) -> dict[str, Any]:
    """Seconds of each pattern, the worst first."""
    worker = Worker(settings, str(tokenizer), str(ROOT / "config/hotlines.yaml"))
    runs = [
        {"pattern": name, "unit": json.dumps(unit), "cpu_s": round(cost, 3)}
        for name, unit in WORST.items()
        for cost in [seconds(worker, unit, MB, TIMES)]
    ]
    runs.sort(key=lambda run: -run["cpu_s"])
    return {
        **head("The cleaning's worst input, 1 MB", "make bench-data PARTS=worst", ["tokenizers"]),
        "runs": runs, "target": {"cpu_s": MOST_SECONDS},
        "met": runs[0]["cpu_s"] <= MOST_SECONDS,
        "note": f"One row of 1 MB, cleaned alone, the start left out; the least of {TIMES}.",
    }  # fmt: skip
