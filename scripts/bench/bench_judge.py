"""Measure the judging: killed at random points, its speed and memory, and how often the intervals
of corrected rates cover the truth. The judge is scripted (scripted_judge.py).

Reads   nothing: replies are made up, and people's answers are drawn by a seed
Writes  docs/records/judge.json (--record)
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))  # where mindtune lies

from bench.measuring import write_measurement
from mindtune.cli import run
from mindtune.environments import ROOT, venv_name, venvs_folder
from mindtune.evaluate.judge_error import Calibration, corrected, corrected_interval
from mindtune.records import write_jsonl

PYTHON = f"{venvs_folder()}/{venv_name('judge', on_gpu=False)}/bin/python"
JUDGE = {
    "path": None, "model": "scripted", "key_file": None, "family": None, "max_tokens": 300,
    "input_price": 2.0, "output_price": 6.0,
}  # fmt: skip
LIMITS = {"max_items": None, "pairs": True, "budget": None, "timeout_s": 60, "patience_s": 60}
RATES, TRUTHS = (0.6, 0.7, 0.8, 0.9, 0.95), (0.2, 0.5, 0.8)
# A request is an item of one of two models, or an order of a pair
A_REPLY = 4


def write_replies(folder: Path, count: int) -> None:
    """Replies of base and tuned, three turns a dialogue."""
    for model in ("base", "tuned"):
        write_jsonl(
            folder / f"{model}.jsonl",
            (
                {
                    "id": f"d{k // 3}#{k % 3}",
                    "dialogue": f"d{k // 3}",
                    "prompt": [{"role": "user", "content": f"我最近睡不着，第{k}天了。" * 8}],
                    "reference": "嗯。",
                    "reply": f"听起来你很累（{model}{k}），能多说一点吗？" * 8,
                    "finish_reason": "stop",
                }
                for k in range(count)
            ),
        )


@contextmanager
def server(folder: Path, *more: str) -> Iterator[tuple[str, int]]:
    """A scripted judge; its address and process id."""
    port = folder / f"port-{time.monotonic_ns()}"
    words = [PYTHON, SCRIPTS / "bench/scripted_judge.py", "--port-file", port, *more]
    process = subprocess.Popen([str(word) for word in words], cwd=folder)
    try:
        while not port.exists() or not port.read_text():
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port.read_text()}/v1", process.pid
    finally:
        process.terminate()
        process.wait()


def forks(folder: Path, url: str, kills: int, state: str, concurrency: int = 8) -> dict[str, Any]:
    """Judge what lies in the folder, killed so often; what judge_forks.py prints."""
    places = {
        f"{model}.jsonl": {"dataset": "d", "run": name, "suite": "dialogue"}
        for model, name in (("base", ""), ("tuned", "main"))
    }
    words = [
        "--judges", json.dumps({"a": JUDGE | {"base_url": url}}),
        "--settings", json.dumps(LIMITS | {"concurrency": concurrency}),
        "--rubrics", str(ROOT / "config/rubrics/empathy.yaml"), "--root", str(ROOT),
        "--replies", json.dumps(places), "--state", state, "--answers", f"{state}.jsonl",
        "--record", f"{state}.json", "--log", "server.log",
    ]  # fmt: skip
    program = [PYTHON, str(SCRIPTS / "bench/judge_forks.py"), "--kills", str(kills)]
    done = subprocess.run(
        [*program, "--", *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def items_hash(folder: Path, state: str) -> str:
    """SHA-256 of the item scores that come of a judging."""
    words = [
        sys.executable, SCRIPTS / "score_judged.py", "--answers", f"{state}.jsonl",
        "--rubric", ROOT / "config/rubrics/empathy.yaml", "--root", ROOT, "--run", "main",
        "--dataset", "d", "--items", f"{state}.parquet", "--scores", f"{state}-scores.json",
    ]  # fmt: skip
    subprocess.run([str(word) for word in words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return hashlib.sha256((folder / f"{state}.parquet").read_bytes()).hexdigest()


def paid(folder: Path, bill: str) -> dict[str, int]:
    """Answers on a bill, and how many of them are there a second time."""
    lines = Counter((folder / bill).read_text().split())
    return {"paid": sum(lines.values()), "paid twice": sum(lines.values()) - len(lines)}


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


def coverage(repeats: int, n: int = 400, m: int = 200) -> list[dict[str, Any]]:
    """How often the interval of a corrected rate covers it, for judges good and bad; `n` items of
    the judge, `m` of people.
    """
    rows = []
    for q0, q1, theta in product(RATES, RATES, TRUTHS):
        generator = np.random.default_rng([int(100 * part) for part in (q0, q1, theta)])
        yes = np.clip(generator.binomial(m, theta, repeats), 1, m - 1)
        shared = generator.binomial(yes, q1), generator.binomial(m - yes, q0)
        rates = generator.binomial(n, theta * q1 + (1 - theta) * (1 - q0), repeats) / n
        hits = 0
        for place in range(repeats):
            found = Calibration(
                int(yes[place]), int(shared[0][place]), int(m - yes[place]), int(shared[1][place])
            )
            low, high = corrected_interval(float(rates[place]), n, found)
            hits += low <= theta <= high
        rows.append(
            {"what": "coverage", "q0": q0, "q1": q1, "theta": theta, "covers": hits / repeats}
        )
    return rows


def planted(theta: float = 0.8, q0: float = 0.85, q1: float = 0.9, n: int = 20_000) -> float:
    """The corrected rate of a set with a planted one."""
    generator = np.random.default_rng(1)
    truth = generator.random(n) < theta
    said = np.where(truth, generator.random(n) < q1, generator.random(n) >= q0)
    people = slice(0, n // 2)
    yes, no = said[people][truth[people]], ~said[people][~truth[people]]
    return corrected(float(said.mean()), float(no.mean()), float(yes.mean()))


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
    shares = [row["covers"] for row in covers]
    median = {
        "planted": round(planted(), 4),
        "paid_twice": rows[1]["paid twice"],
        "lost": rows[2]["paid twice"],
        "a_minute": speed[1]["a minute"],
        "a_minute_by_cpu": speed[1]["a minute by CPU"],
        "memory_growth": round(speed[1]["peak_mb"] / speed[0]["peak_mb"], 3),
        "least_coverage": min(shares),
        "most_coverage": max(shares),
        "mean_coverage": round(float(np.mean(shares)), 4),
    }
    met = {
        "paid_twice": median["paid_twice"] == 0 and rows[1]["kills"] == args.kills,
        "same_items": len({row["items"] for row in rows}) == 1,
        "a_minute_by_cpu": median["a_minute_by_cpu"] >= 10_000,
        "memory_growth": median["memory_growth"] <= 1.1,
        "planted": abs(median["planted"] - 0.8) <= 0.03,
        "coverage": all(0.93 <= share <= 0.97 for share in shares),
    }
    write_measurement(
        args.record,
        "A judging: killed, its speed, and its error corrected",
        packages=["numpy", "scipy"],
        runs=[*rows, *speed, *covers],
        median=median,
        target={
            "paid_twice": 0, "a_minute_by_cpu": 10_000, "memory_growth": 1.1, "planted": 0.8,
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
