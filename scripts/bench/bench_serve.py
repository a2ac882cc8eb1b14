"""Measure a served model under load: LMDeploy's engines side by side, at several numbers of
requests at once.

Each engine is started by the workflow's own launcher. Every level first runs one round that is not
counted (it compiles and captures what its batch size needs), then the counted rounds. Replies are
as long as asked for (`ignore_eos`), prompts differ.

Reads   a model folder
Writes  the record, with one run for each engine, and the servers' logs
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import meets, write_measurement
from mindtune.card_memory import card_memory
from mindtune.cli import argument_parser, run
from mindtune.serve.engine import serve
from mindtune.serve.engine_settings import check_engine
from mindtune.serve.kv_cache import kv_budget, reported_tokens
from mindtune.serve.load import Target, load, speeds

SIGNS = "我最近总是失眠白天很累工作压力大没有人可以说晚上翻来覆去睡不着觉得焦虑怎么办"
TARGETS = {
    "startup_s": 90,
    "tokens_per_s_alone": 120,
    "ttft_s_p95_at_8": 0.2,
    "tokens_per_s_saturated": 12_000,
}
AT_LEAST = ("tokens_per_s_alone", "tokens_per_s_saturated")


def chats(count: int, seed: int) -> list[list[dict[str, str]]]:
    """Chats of one client turn of 100 to 300 signs, each different."""
    draw = random.Random(seed)
    return [
        [{"role": "user", "content": "".join(draw.choices(SIGNS, k=draw.randint(100, 300)))}]
        for _ in range(count)
    ]


def measure_level(target: Target, level: int, rounds: int, warm: bool) -> dict[str, Any]:
    """Speeds of `rounds` rounds of requests, `level` at once, with the card's memory in use
    afterwards.
    """
    if warm:
        load(target, chats(level, 1), level)
    row = speeds(load(target, chats(max(rounds * level, 3), 2), level))
    row |= {
        "concurrency": level,
        "streamed": target.stream,
        "card_bytes_used": [used for _, used in card_memory()],
    }
    print(json.dumps(row), flush=True)
    return row


def measure_engine(
    model: Path, engine: dict[str, Any], args: argparse.Namespace, log: Path
) -> dict[str, Any]:
    """Start one engine and measure all levels; what it says of its cache is recorded beside our
    own budget.
    """
    memory = kv_budget(model, engine, card_memory())
    body = {
        "model": engine["model_name"],
        "max_tokens": args.max_tokens,
        "temperature": 0.7,
        "ignore_eos": True,
    }
    with serve(model, engine, log) as server:
        print(f"{engine['backend']} up after {server.startup_s:.1f} s", flush=True)
        memory["reported_tokens"] = reported_tokens(log)
        streamed, whole = (
            Target(server.port, server.api_key, body, stream) for stream in (True, False)
        )
        rows = [measure_level(streamed, level, args.rounds, True) for level in args.levels]
        rows += [measure_level(whole, level, args.rounds, False) for level in args.whole]
    return {
        "backend": engine["backend"],
        "startup_s": round(server.startup_s, 1),
        "memory": memory,
        "levels": rows,
    }


def figures(measured: dict[str, Any]) -> dict[str, Any]:
    """The figures of one engine that there are targets for."""
    rows = {row["concurrency"]: row for row in measured["levels"] if row["streamed"]}
    return {
        "startup_s": measured["startup_s"],
        "tokens_per_s_alone": rows[1]["tokens_per_s"] if 1 in rows else None,
        "ttft_s_p95_at_8": rows[8]["ttft_s_p95"] if 8 in rows else None,
        "tokens_per_s_saturated": max(row["tokens_per_s"] for row in measured["levels"]),
    }


def parse_args() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument(
        "--engine", required=True, type=json.loads, help="JSON: the config's serve branch"
    )
    parser.add_argument(
        "--engine-python", required=True, help="interpreter of the environment that serves"
    )
    parser.add_argument("--backends", required=True, nargs="+", choices=("pytorch", "turbomind"))
    parser.add_argument(
        "--levels", required=True, nargs="+", type=int, help="requests at once, streamed"
    )
    parser.add_argument(
        "--whole", nargs="*", type=int, default=[], help="requests at once, answered whole"
    )
    parser.add_argument("--rounds", required=True, type=int, help="counted rounds of each level")
    parser.add_argument("--max-tokens", required=True, type=int, help="tokens of every reply")
    parser.add_argument("--note", default="")
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument("--logs", required=True, type=Path, help="folder for the servers' logs")
    return parser.parse_args()


def best(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the engine with the most tokens a second."""
    return max((run["figures"] for run in runs), key=lambda found: found["tokens_per_s_saturated"])


def main() -> None:
    args = parse_args()
    runs: list[dict[str, Any]] = []
    for backend in args.backends:
        engine = {**args.engine, "backend": backend, "python": args.engine_python}
        check_engine(engine)
        measured = measure_engine(args.model, engine, args, args.logs / f"{backend}.log")
        found = figures(measured)
        runs.append({**measured, "figures": found, "met": meets(found, TARGETS, AT_LEAST)})
        # after each engine, so that one that fails does not take the other's figures with it
        write_measurement(
            args.record,
            "serving under load, by engine",
            packages=[
                "lmdeploy",
                "torch",
                "transformers",
                "triton",
                "uvicorn",
                "uvloop",
                "httptools",
            ],
            runs=runs,
            median=best(runs),
            target=TARGETS,
            met=meets(best(runs), TARGETS, AT_LEAST),
            note=args.note,
        )


if __name__ == "__main__":
    raise SystemExit(run(main))
