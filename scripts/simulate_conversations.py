"""Let simulated clients talk with a counsellor, turn by turn: the same clients, with the same first
words and seed, for every model.

Whatever was said is kept in the state folder as it comes in: a run that was killed goes on there,
and nothing is asked twice.

Reads   a model folder, the personas and their styles, the training split (for its system prompt)
Writes  one conversation a row, and a record; the servers' logs
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mindtune.chat_template import ChatTokenizer, load_chat, system_of_most
from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.evaluate.clients import played_client, scripted_client
from mindtune.evaluate.conversation import Client, Counsellor, Messages, converse
from mindtune.evaluate.endpoint import Endpoint
from mindtune.evaluate.personas import Persona, chosen, read_personas, read_styles
from mindtune.evaluate.remembered import NotKept, Remembered
from mindtune.evaluate.reply_store import ReplyStore, prompt_key, store_key
from mindtune.evaluate.transcripts import transcript
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import read_jsonl, sha256_path, to_json, write_jsonl, write_record
from mindtune.serve.engine import serve
from mindtune.serve.engine_settings import check_engine, check_engine_node, in_flight

SETTINGS = ("personas", "turns", "seed", "max_new_tokens", "client_max_new_tokens")
CLIENT = ("kind", "base_url", "model", "key_file", "path")
# Two engines on one card: LMDeploy takes a share of what is free when it starts
SHARED_CACHE = 0.3


def counsellor_of(
    chat: ChatTokenizer, remembered: Remembered, limit: int, session_len: int
) -> Counsellor:
    """A counsellor that replies out of the store, or is asked; None if no reply would fit in."""

    def reply(messages: Messages) -> Mapping[str, Any] | None:
        text = chat.render(messages, add_generation_prompt=True)
        if chat.count([text])[0] > session_len - limit:
            return None
        return remembered(prompt_key(text, limit), messages, limit)

    return reply


def client_of(persona: Persona, args: argparse.Namespace, remembered: Remembered) -> Client:
    """A persona's client, of the kind that the configuration names."""
    if args.client["kind"] == "scripted":
        return scripted_client(persona, args.settings["seed"])
    limit = args.settings["client_max_new_tokens"]

    def ask(messages: Messages) -> str:
        key = prompt_key(to_json([persona.name, args.settings["seed"], messages]), limit)
        return remembered(key, messages, limit)["text"]

    return played_client(persona, ask)


def stores(args: argparse.Namespace, model_hash: str) -> tuple[Remembered, Remembered]:
    """What counsellor and client said already. A client's key names who it is, and no code: an
    endpoint is not paid again because of an edit here.
    """
    counsellor = store_key(model=model_hash, engine=args.engine, code=args.code)
    client = {key: args.client[key] for key in ("kind", "base_url", "model")}
    if args.client["path"]:
        client |= {"path": sha256_path(args.client["path"]), "engine": args.engine}
    return (
        Remembered(ReplyStore(args.state / f"{counsellor}.jsonl")),
        Remembered(ReplyStore(args.state / f"client-{store_key(**client)}.jsonl")),
    )


@contextmanager
def asking(args: argparse.Namespace, both: tuple[Remembered, Remembered]) -> Iterator[None]:
    """Counsellor and client can be asked inside the block; servers of ours are gone after it."""
    engine = {**args.engine, "python": args.engine_python}
    local = args.client["kind"] == "model"
    if local and engine["device"] == "gpu":
        cache = min(engine["cache_max_entry_count"], SHARED_CACHE)
        engine |= {"cache_max_entry_count": cache}
    check_engine(engine)
    check_engine_node(engine, args.log)
    with ExitStack() as stack:
        served = [(both[0], args.model, args.log)]
        if local:
            served.append((both[1], Path(args.client["path"]), args.log.with_suffix(".client.log")))
        elif args.client["kind"] == "endpoint":
            both[1].ask = Endpoint(args.client, args.settings["seed"])
        for remembered, model, log in served:
            client = stack.enter_context(serve(model, engine, log)).client()
            remembered.ask = lambda messages, limit, of=client: asdict(of.chat(messages, limit))
        yield


def hold(personas: list[Persona], one: Any, concurrency: int, both: tuple) -> list[dict]:
    """The conversations of all personas, in their order; the first that fails ends all."""
    from openai import OpenAIError

    with ThreadPoolExecutor(concurrency) as pool:
        waiting = [pool.submit(one, persona) for persona in personas]
        try:
            return [future.result() for future in waiting]
        except (OpenAIError, UserError) as error:
            for remembered in both:
                remembered.stop()
            pool.shutdown(cancel_futures=True)
            said = f"{type(error).__name__}" if isinstance(error, OpenAIError) else f"{error}"
            raise UserError(
                f"a conversation could not go on ({said}); what was said is kept: run again"
            ) from None


def simulate(args: argparse.Namespace, model_hash: str, system: str | None) -> tuple[list, dict]:
    """The transcripts, and how often each side was asked."""
    styles = read_styles(args.styles)
    personas = chosen(read_personas(args.personas, styles), args.settings["personas"])
    chat, both = load_chat(args.model), stores(args, model_hash)
    given, limit = args.settings, args.settings["max_new_tokens"]
    counsellor = counsellor_of(chat, both[0], limit, args.engine["session_len"])
    about = {"client": args.client["kind"], "seed": given["seed"]}

    def one(persona: Persona) -> dict[str, Any]:
        client = client_of(persona, args, both[1])
        said, ended = converse(client, counsellor, system, given["turns"])
        if not said:
            raise UserError(
                f"the first words of {persona.name} and {limit} tokens do not fit into "
                f"serve.session_len; raise it, or lower evaluate.conversations.max_new_tokens"
            )
        return transcript(persona, said, ended, system, about)

    try:
        rows = [one(persona) for persona in personas]
    except NotKept:
        most = len(personas) * (given["turns"] - 1)
        if args.client["kind"] == "endpoint":
            print(f"asking {args.client['base_url']} at most {most} times", flush=True)
        with asking(args, both):
            rows = hold(personas, one, in_flight(args.engine, args.concurrency), both)
    return rows, {"counsellor": both[0].asked, "client": both[1].asked}


def parse_args() -> argparse.Namespace:
    flags = argument_parser(__doc__)
    flags.add_argument("--model", required=True, type=Path, help="the counsellor")
    flags.add_argument("--personas", required=True, type=Path)
    flags.add_argument("--styles", required=True, type=Path)
    flags.add_argument("--train", required=True, type=Path, help="the training split")
    add_made_by(flags)
    flags.add_argument("--system", required=True, type=json.loads, help="JSON: text or null")
    add_json(flags, "--client", *CLIENT)
    add_json(flags, "--settings", *SETTINGS)
    flags.add_argument("--engine", required=True, type=json.loads, help="JSON: the serve branch")
    flags.add_argument("--engine-python", required=True, help="interpreter that serves")
    flags.add_argument("--concurrency", required=True, type=int, help="conversations at a time")
    flags.add_argument("--code", required=True, help="hash of the code, part of the state's key")
    flags.add_argument("--state", required=True, type=Path, help="folder of what was said")
    for name in ("transcripts", "record", "log"):
        flags.add_argument(f"--{name}", required=True, type=Path)
    return flags.parse_args()


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([args.model, args.personas, args.styles, args.train], args.made_by)
    system = system_of_most(read_jsonl(args.train)) if args.system is None else args.system
    args.log.touch()
    rows, asked = simulate(args, inputs[args.model.as_posix()], system)
    write_jsonl(args.transcripts, rows)
    cut = [row["id"] for row in rows if row["ended"] != "turns"]
    client = {key: args.client[key] for key in ("kind", "base_url", "model", "path")}
    write_record(
        args.record,
        "simulate_conversations",
        inputs=inputs,
        outputs=[args.transcripts],
        params={"client": client, "settings": args.settings, "engine": args.engine},
        facts={
            "conversations": len(rows),
            "turns": sum(len(row["turns"]) for row in rows),
            "cut_by_session_len": cut,
            "system": system,
            "sha256": {row["id"]: row["sha256"] for row in rows},
        },
        packages=["jinja2", "openai", "tokenizers"],
    )
    print(f"{len(rows)} conversations with a client of the kind {client['kind']}; asked {asked}")


if __name__ == "__main__":
    raise SystemExit(run(main))
