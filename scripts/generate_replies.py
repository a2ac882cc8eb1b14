"""Let a served model answer the prompts of all suites: one start of the server, greedy, many
requests at once, output in the order of the input.

Every reply is kept in the state folder as it comes in, so that a run that was killed, or a suite
that was added, asks only what is new.

Reads   a model folder and the prompts of each suite (prepare_suite.py)
Writes  for each suite one JSON row a prompt and a record; the server's log
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mindtune.chat_template import load_chat
from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate.asked import Asked, prepared, summarise, to_row
from mindtune.evaluate.baselines import with_own_system
from mindtune.evaluate.reply_store import ReplyStore, store_key
from mindtune.provenance import add_made_by
from mindtune.records import read_jsonl, write_jsonl, write_record
from mindtune.serve.at_once import NotAnsweredError, Request, ask_all, make_room
from mindtune.serve.client import Reply
from mindtune.serve.engine import Server, serve
from mindtune.serve.engine_settings import hashed_beside_checks, in_flight


def ask_missing(
    server: Server, asked: Sequence[Asked], store: ReplyStore, args: argparse.Namespace
) -> int:
    """Ask what the store does not hold, and return how many that were. The first request that fails
    ends it; what came in before is kept.
    """
    missing = {
        key: (row, part.max_new_tokens)
        for part in asked
        for key, row in zip(part.reply_keys(), part.rows, strict=True)
        if key not in store.kept
    }
    requests = [Request(key, row["prompt"], limit) for key, (row, limit) in missing.items()]
    done = itertools.count(1)

    def keep(request: Request, reply: Reply) -> None:
        store.add(request.key, asdict(reply))
        if (number := next(done)) % 100 == 0:
            print(f"answered {number} of {len(missing)} prompts", flush=True)

    try:
        order = requests[:: -1 if args.reversed else 1]
        ask_all(order, server.target(), in_flight(args.engine, args.concurrency), keep)
    except NotAnsweredError as error:
        name = missing[error.request.key][0]["id"]
        raise UserError(
            f"the server did not answer {name} ({error}); read {args.log}, and run again to go on "
            f"with the {error.replies} replies that came in"
        ) from error
    return len(missing)


def prompt_rows(path: Path, system: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """The rows of a prompts file, if wanted with another system turn, by language."""
    return [with_own_system(row, system) if system else row for row in read_jsonl(path)]


def generate(
    args: argparse.Namespace, engine: dict[str, Any], model_hash: str
) -> list[dict[str, Any]]:
    """Write the replies of every suite and return the facts of their records."""
    chat, room = load_chat(args.model), engine["session_len"]
    asked = [
        prepared(suite, prompt_rows(path, args.systems.get(suite)), chat, limit, room)
        for (suite, limit), path in zip(args.suites.items(), args.prompts, strict=True)
    ]
    key = store_key(model=model_hash, engine=args.engine, code=args.code)
    store = ReplyStore(args.state / f"{key}.jsonl")
    new = 0
    if any(key not in store.kept for part in asked for key in part.reply_keys()):
        with serve(args.model, engine, args.log) as server:
            new = ask_missing(server, asked, store, args)
    else:
        args.log.write_text("every reply was there already: no server was started\n")
    facts = []
    for part, path in zip(asked, args.replies, strict=True):
        replies = [store.kept[key] for key in part.reply_keys()]
        write_jsonl(path, map(to_row, part.rows, replies))
        facts.append(summarise(part, replies))
        print(
            "{suite}: {n} replies (empty {empty}, cut {truncated}, skipped {skipped_n})".format(
                **facts[-1]
            )
        )
    print(f"asked {new}, the others were there already")
    return facts


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument(
        "--suites", required=True, type=json.loads, help="JSON: {suite: longest reply in tokens}"
    )
    parser.add_argument("--prompts", required=True, type=Path, nargs="+", help="in that order")
    parser.add_argument(
        "--systems",
        type=json.loads,
        default={},
        help="JSON: {suite: {zh, en}}, system turns in the place of the prompts' own",
    )
    parser.add_argument("--reversed", action="store_true", help="ask the last prompt first")
    add_made_by(parser)
    parser.add_argument(
        "--engine", required=True, type=json.loads, help="JSON: the config's serve branch"
    )
    parser.add_argument(
        "--engine-python", required=True, help="interpreter of the environment that serves"
    )
    parser.add_argument("--concurrency", required=True, type=int, help="requests in flight")
    parser.add_argument("--code", required=True, help="hash of the code, part of the state's key")
    parser.add_argument("--state", required=True, type=Path, help="folder of kept replies")
    parser.add_argument("--replies", required=True, type=Path, nargs="+")
    parser.add_argument("--records", required=True, type=Path, nargs="+")
    parser.add_argument("--log", required=True, type=Path, help="what the server prints")
    args = parser.parse_args()
    if not len(args.suites) == len(args.prompts) == len(args.replies) == len(args.records):
        raise UserError("--suites, --prompts, --replies and --records name one of each a suite")
    return args


def main() -> None:
    args = parse_args()
    engine = {**args.engine, "python": args.engine_python}
    make_room(in_flight(engine, args.concurrency))
    paths = [args.model, *args.prompts]
    inputs = hashed_beside_checks(engine, args.log, paths, args.made_by)
    model = args.model.as_posix()
    facts = generate(args, engine, inputs[model])
    parts = zip(args.suites.items(), args.prompts, args.replies, args.records, facts, strict=True)
    for (suite, limit), prompts, replies, record, found in parts:
        write_record(
            record,
            "generate_replies",
            inputs={path: inputs[path] for path in (model, prompts.as_posix())},
            outputs=[replies],
            params={"suite": suite, "max_new_tokens": limit, "engine": args.engine},
            facts=found,
            packages=["jinja2", "openai", "tokenizers"],
        )


if __name__ == "__main__":
    raise SystemExit(run(main))
