"""How fast the workflow asks a model its suites, beside what the engine does when it is full.

For each model the server is started by the workflow's own launcher and asked by the code that
generates the replies; then the same server is loaded with as many requests as it takes.

Reads   model folders (base and tuned), prompts of dialogues and of choice questions
        (prepare_suite.py)
Writes  a record: seconds after loading, tokens a second, share of the engine's full rate
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.bench_serve import chats
from bench.measuring import meets, write_measurement
from generate_replies import ask_missing
from mindtune.chat_template import load_chat
from mindtune.cli import argument_parser, run
from mindtune.evaluate.asked import prepared
from mindtune.evaluate.reply_store import ReplyStore
from mindtune.records import read_jsonl
from mindtune.serve.engine import Server, serve
from mindtune.serve.load import load, speeds

TARGETS = {"minutes_after_loading": 4.0, "share_of_full_rate": 0.8}
DIALOGUES, QUESTIONS = 1000, 2000
REPLY_TOKENS, LETTER_TOKENS = 256, 16


def first_rows(paths: Sequence[Path], count: int) -> list[dict[str, Any]]:
    """The first rows of prompts files, each id once."""
    rows = {f"{path.stem} {row['id']}": row for path in paths for row in read_jsonl(path)}
    return list(rows.values())[:count]


def asked(args: argparse.Namespace, model: Path, server: Server, folder: Path) -> dict[str, Any]:
    """Seconds and reply tokens of the dialogues, then of the questions."""
    chat, found = load_chat(model), {}
    for suite, paths, count, limit in (
        ("dialogues", args.dialogues, DIALOGUES, REPLY_TOKENS),
        ("questions", args.questions, QUESTIONS, LETTER_TOKENS),
    ):
        rows = first_rows(paths, count)
        part = prepared(suite, rows, chat, limit, args.engine["session_len"])
        store = ReplyStore(folder / f"{suite}.jsonl")
        began = time.monotonic()
        ask_missing(server, [part], store, args)
        seconds = time.monotonic() - began
        tokens = sum(reply["completion_tokens"] for reply in store.kept.values())
        found[suite] = {
            "asked": len(part.rows),
            "seconds": round(seconds, 2),
            "prompt_tokens": sum(part.lengths),
            "reply_tokens": tokens,
            "reply_tokens_per_s": round(tokens / seconds, 1),
        }
    return found


def full(args: argparse.Namespace, server: Server) -> list[dict[str, Any]]:
    """Speeds of the same server with many requests at once, replies of REPLY_TOKENS each."""
    target = server.target().asking(max_tokens=REPLY_TOKENS, temperature=0)
    if args.engine["engine"] == "lmdeploy":  # ours refuses what it does not know
        target = target.asking(ignore_eos=True)
    rows = []
    for level in args.levels:
        load(target, chats(level, 1), level)
        rows.append({"concurrency": level} | speeds(load(target, chats(2 * level, 2), level)))
        print(json.dumps(rows[-1]), flush=True)
    return rows


def measure(args: argparse.Namespace, model: Path) -> dict[str, Any]:
    """One start of a model."""
    with tempfile.TemporaryDirectory() as folder, serve(model, args.engine, args.log) as server:
        found = asked(args, model, server, Path(folder))
        print(json.dumps(found), flush=True)
        levels = full(args, server)
        return {
            "model": model.name,
            "startup_s": round(server.startup_s, 1),
            "concurrency": args.concurrency,
            **found,
            "full": levels,
            "full_tokens_per_s": max(row["tokens_per_s"] for row in levels),
        }


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--models", required=True, type=Path, nargs="+", help="base and tuned")
    parser.add_argument("--dialogues", required=True, type=Path, nargs="+", help="prompts files")
    parser.add_argument("--questions", required=True, type=Path, nargs="+", help="prompts files")
    parser.add_argument(
        "--engine", required=True, type=json.loads, help="JSON: the config's serve branch"
    )
    parser.add_argument("--engine-python", required=True, help="interpreter that serves")
    parser.add_argument("--concurrency", required=True, type=int, help="requests in flight")
    parser.add_argument("--levels", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--log", required=True, type=Path, help="what the servers print")
    parser.add_argument("--note", default="")
    parser.add_argument("--record", required=True, type=Path)
    parser.set_defaults(reversed=False)  # generate_replies.py's flag
    args = parser.parse_args()
    args.engine |= {"python": args.engine_python, "model_name": "replies"}
    return args


def main() -> None:
    args = parse_args()
    runs = [measure(args, model) for model in args.models]
    seconds = sum(run[part]["seconds"] for run in runs for part in ("dialogues", "questions"))
    shares = [run["dialogues"]["reply_tokens_per_s"] / run["full_tokens_per_s"] for run in runs]
    median = {
        "minutes_after_loading": round(seconds / 60, 2),
        "share_of_full_rate": round(min(shares), 3),
    }
    write_measurement(
        args.record,
        "suites of base and tuned, asked as the rule asks them",
        packages=["lmdeploy", "torch", "transformers", "triton"],
        runs=runs,
        median=median,
        target=TARGETS,
        met=meets(median, TARGETS, ("share_of_full_rate",)),
        note=args.note,
    )
    print(json.dumps(median))


if __name__ == "__main__":
    raise SystemExit(run(main))
