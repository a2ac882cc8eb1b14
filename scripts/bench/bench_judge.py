"""Measure the judging: killed at random points, its speed and memory, and how often the intervals
of corrected rates cover the truth. The judge is scripted (scripted_judge.py).

Reads   nothing: replies are made up, and people's answers are drawn by a seed
Writes  docs/records/judge.json (--record)
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.judge_coverage import coverage, planted
from bench.judge_runs import forks, items_hash, paid, server, write_replies
from bench.measuring import write_measurement
from mindtune.cli import run

# A request is a reply of one of two models, or a pair in one of two orders
A_REPLY = 4


def killed(folder: Path, requests: int, kills: int) -> list[dict[str, Any]]:
    """Judgings that are killed, at a server that knows request keys and at one that does not, and
    one that is not killed.
    """
    write_replies(folder, requests // A_REPLY)
    rows = []
    for name, count, more in (
        ("not killed", 0, []),
        ("killed, server knows request keys", kills, []),
        ("killed, server knows no request keys", kills, ["--no-keys"]),
    ):
        state = f"state-{len(rows)}"
        words = ["--bill", f"bill-{len(rows)}", "--delay", "0.01", *more]
        with server(folder, *words) as (url, _):
            found = forks(folder, url, count, state)
        row = {"what": name, "requests": requests, "kills": found["kills"]}
        rows.append(row | paid(folder, words[1]) | {"items": items_hash(folder, state)})
    return rows


def fast(folder: Path, requests: int) -> dict[str, Any]:
    """Seconds and memory of a judging by a server that answers at once."""
    write_replies(folder, requests // A_REPLY)
    with server(folder) as (url, process):
        found = forks(folder, url, 0, f"fast-{requests}", concurrency=16)
        ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    judge_s = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return {
        "what": "speed",
        "requests": requests,
        "a minute": round(60 * requests / found["seconds"]),
        "cpu_seconds": found["cpu_seconds"],
        "judge_cpu_seconds": round(judge_s, 2),
        # what two cores can do, whatever else the machine did meanwhile
        "a minute by CPU": round(60 * requests / max(found["cpu_seconds"], judge_s)),
        "peak_mb": found["peak_mb"],
    }


def judged(
    rows: list[dict[str, Any]], speed: list[dict[str, Any]], shares: list[float], kills: int
) -> tuple[dict[str, Any], dict[str, bool]]:
    """The figures, and which targets they meet."""
    median = {
        "planted": round(planted(), 4),
        "paid_twice": rows[1]["paid twice"],
        "kills": rows[1]["kills"],
        "lost": rows[2]["paid twice"],
        "a_minute": speed[1]["a minute"],
        "a_minute_by_cpu": speed[1]["a minute by CPU"],
        "memory_growth": round(speed[1]["peak_mb"] / speed[0]["peak_mb"], 3),
        "least_coverage": min(shares),
        "most_coverage": max(shares),
        "mean_coverage": round(float(np.mean(shares)), 4),
    }
    met = {
        "paid_twice": median["paid_twice"] == 0,
        "kills": rows[1]["kills"] == kills,
        "same_items": len({row["items"] for row in rows}) == 1,
        "a_minute_by_cpu": median["a_minute_by_cpu"] >= 10_000,
        "memory_growth": median["memory_growth"] <= 1.1,
        "planted": abs(median["planted"] - 0.8) <= 0.03,
        "coverage": all(0.93 <= share <= 0.97 for share in shares),
    }
    return median, met


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--requests", type=int, default=1000, help="of a judging that is killed")
    parser.add_argument("--fast", type=int, default=10_000, help="requests of the measured one")
    parser.add_argument("--repeats", type=int, default=4000, help="simulations of each judge")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mindtune-") as name:
        folder = Path(name)
        rows = killed(folder, args.requests, args.kills)
        speed = [fast(folder, count) for count in (args.fast // 4, args.fast)]
    covers = coverage(args.repeats)
    median, met = judged(rows, speed, [row["covers"] for row in covers], args.kills)
    write_measurement(
        args.record,
        "A judging: killed, its speed, and its error corrected",
        packages=["numpy", "scipy"],
        runs=[*rows, *speed, *covers],
        median=median,
        target={
            "paid_twice": 0, "kills": args.kills, "a_minute_by_cpu": 10_000,
            "memory_growth": 1.1, "planted": 0.8,
            "coverage": "0.93 to 0.97",
        },
        met=met,
        note=NOTE,
    )  # fmt: skip
    print(json.dumps(median | {"met": met}))


NOTE = (
    "The judge is scripted and answers at once; killed is SIGKILL after a random number of bytes "
    "in the store. A request that is on its way when its run is killed is asked again with the "
    "same Idempotency-Key: a server that knows such keys bills it once, another one bills it "
    "again. By CPU: 60 s over the CPU seconds of the busier of client and judge, each on a core of "
    "its own; the machine had other work meanwhile."
)


if __name__ == "__main__":
    raise SystemExit(run(main))
