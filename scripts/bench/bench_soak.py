"""Keep a served model busy for minutes with clients that hang up, and say whether it stays as it
was: answers, times, memory, open files.

A quarter of the requests is hung up on, at a random moment; half of all are streamed. Before and
after, one reply to the same question is compared.

Reads   a model folder
Writes  the record, and the server's log
"""

import http.client
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.bench_serve import chats
from bench.measuring import meets, tree, write_measurement
from mindtune.cli import argument_parser, run
from mindtune.serve.engine import Server, serve
from mindtune.serve.load import percentiles

HANG_UPS = 0.25
STREAMED = 0.5
SAMPLE_S = 5.0
# The first part of the time fills caches and pools
WARM = 1 / 3
TARGETS = {"failed": 0, "memory_growth": 1.02, "same_reply": 1}


class Soak:
    """What the clients did and saw."""

    def __init__(self, server: Server, max_tokens: int, seconds: float) -> None:
        self.server, self.max_tokens = server, max_tokens
        self.end = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.times: list[float] = []
        self.counts = {"answered": 0, "hung_up": 0, "failed": 0}

    def client(self, number: int) -> None:
        """One client: asks until the time is over."""
        draw = random.Random(number)
        while time.monotonic() < self.end:
            (chat,) = chats(1, draw.randrange(1 << 30))
            patience = draw.uniform(0, 3) if draw.random() < HANG_UPS else None
            start = time.monotonic()
            outcome = self.ask(chat, draw.random() < STREAMED, patience)
            with self.lock:
                self.counts[outcome] += 1
                if outcome == "answered":
                    self.times.append(time.monotonic() - start)

    def ask(self, chat: list[dict[str, str]], stream: bool, patience: float | None) -> str:
        """One request, read to its end or hung up on after some seconds."""
        body = {
            "model": self.server.model_name, "messages": chat, "temperature": 0, "top_k": 1,
            "stream": stream,
            "max_tokens": self.max_tokens,
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {self.server.api_key}"}
        wait = 600 if patience is None else max(patience, 0.01)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=wait)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
            whole = b"[DONE]" in content if stream else b"finish_reason" in content
            return "answered" if response.status == 200 and whole else "failed"
        except TimeoutError:
            return "hung_up" if patience is not None else "failed"
        except (OSError, http.client.HTTPException):
            return "failed"
        finally:
            connection.close()


def open_files(group: int) -> int:
    """File descriptors of a process and all below it."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in tree(group))


def memory_mb(group: int) -> float:
    """Memory that a process and all below it have for themselves: files and libraries that others
    map too come and go with them.
    """
    total = 0
    for pid in tree(group):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return total / 1024


def watch(server: Server, end: float) -> list[dict[str, float]]:
    """Memory and open files of the server, every five seconds."""
    rows = []
    while time.monotonic() < end:
        memory, files = memory_mb(server.group), open_files(server.group)
        rows.append({"memory_mb": round(memory, 1), "open_files": files})
        time.sleep(SAMPLE_S)
    return rows


def measure(server: Server, clients: int, seconds: float, max_tokens: int) -> dict[str, Any]:
    """The figures of one soak."""
    question = chats(1, 7)[0]
    before, files = server.client().chat(question, max_tokens), open_files(server.group)
    soak = Soak(server, max_tokens, seconds)
    with ThreadPoolExecutor(clients + 1) as pool:
        rows = pool.submit(watch, server, soak.end)
        list(pool.map(soak.client, range(clients)))
    after = server.client().chat(question, max_tokens)
    samples = rows.result()
    warm = samples[int(len(samples) * WARM) :]
    return {
        "clients": clients,
        "seconds": round(seconds),
        **soak.counts,
        **{f"answer_s_{name}": value for name, value in percentiles(soak.times).items()},
        "memory_mb_before": samples[0]["memory_mb"],
        "memory_mb_warm": warm[0]["memory_mb"],
        "memory_mb_most": max(row["memory_mb"] for row in warm),
        "memory_mb_end": warm[-1]["memory_mb"],
        "open_files_before": files,
        "open_files_most": max(row["open_files"] for row in samples),
        "open_files_after": open_files(server.group),
        "same_reply": before == after,
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--engine", required=True, type=json.loads, help="JSON: a serve branch")
    parser.add_argument("--engine-python", required=True)
    parser.add_argument("--clients", required=True, type=int)
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("--max-tokens", required=True, type=int)
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument("--log", required=True, type=Path)
    args = parser.parse_args()
    engine = {**args.engine, "python": args.engine_python}
    with serve(args.model, engine, args.log) as server:
        found = measure(server, args.clients, args.seconds, args.max_tokens)
    found["log_bytes"] = args.log.stat().st_size
    print(json.dumps(found, indent=2))
    figures = {
        "failed": found["failed"],
        "memory_growth": found["memory_mb_end"] / found["memory_mb_warm"],
        "same_reply": int(found["same_reply"]),
    }
    write_measurement(
        args.record,
        "a served model under clients of which a quarter hangs up",
        packages=["fastapi", "torch", "transformers", "uvicorn"],
        runs=[found],
        median={"answer_s_p95": found["answer_s_p95"]},
        target=TARGETS,
        met=meets(figures, TARGETS, ["same_reply"]),
        note="answer_s: seconds of a whole answer, most of them spent waiting for others' turns, "
        "since "
        "engine transformers answers one request at a time. memory_growth: at the end, of what it "
        "was "
        "after a third of the time.",
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
