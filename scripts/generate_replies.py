"""Let a served model answer every counsellor turn of a set of dialogues, with the true history
before it.

For counsellor turn k of a dialogue the prompt is all that was said before it, as it was said, and
the reference is the turn itself; so a poor reply cannot spoil later prompts. Greedy, many requests
at once, output in the order of the input.

Reads   a model folder and a JSONL file of clean ShareGPT dialogues
Writes  one JSON row a counsellor turn, the stage's record, and the server's log
"""

import argparse
import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.chat_template import ChatTokenizer, Message, load_chat, to_messages
from mindtune.cli import UserError, run
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import read_jsonl, write_jsonl, write_record
from mindtune.serve.client import Client, Reply
from mindtune.serve.engine import serve
from mindtune.serve.engine_settings import check_engine, check_engine_node

SETTINGS = {
    "max_new_tokens",
    "max_dialogues",
    "max_turns_per_dialogue",
    "system",
    "seed",
    "concurrency",
}


@dataclass(frozen=True)
class Prompt:
    """A counsellor turn to be answered: the number `turn` (from 0) among the counsellor turns of
    `dialogue`.
    """

    dialogue: str
    turn: int
    messages: list[Message]
    reference: str

    @property
    def id(self) -> str:
        """`<dialogue>#<turn>`, unique in a replies file."""
        return f"{self.dialogue}#{self.turn}"


def choose_dialogues(
    rows: Sequence[dict[str, Any]], limit: int | None, seed: int
) -> list[dict[str, Any]]:
    """At most `limit` rows, in their order: those whose ids, hashed with the seed, come first."""
    if limit is None or limit >= len(rows):
        return list(rows)
    ranked = sorted(
        rows, key=lambda row: hashlib.sha256(f"{seed}\0{row['id']}".encode()).hexdigest()
    )
    chosen = {row["id"] for row in ranked[:limit]}
    return [row for row in rows if row["id"] in chosen]


def choose_turns(count: int, limit: int | None) -> list[int]:
    """At most `limit` of the turns 0..count-1, evenly spaced, the last one always among them."""
    if limit is None or limit >= count:
        return list(range(count))
    return [-(-(step + 1) * count // limit) - 1 for step in range(limit)]


def dialogue_prompts(row: dict[str, Any], limit: int | None, system: str | None) -> list[Prompt]:
    """The prompts of one dialogue. `system` is used where the dialogue has no system turn of its
    own.
    """
    messages = to_messages(row["conversations"])
    if system is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    replies = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    for place in replies:
        if place == 0 or messages[place - 1]["role"] != "user":
            raise UserError(
                f"dialogue {row['id']}: turn {place} answers no client turn; clean the data with "
                f"clean_dialogues.py"
            )
    return [
        Prompt(row["id"], turn, messages[: replies[turn]], messages[replies[turn]]["content"])
        for turn in choose_turns(len(replies), limit)
    ]


def read_prompts(path: Path, settings: dict[str, Any]) -> list[Prompt]:
    """All prompts of a file of clean dialogues, in its order."""
    rows = list(read_jsonl(path))
    chosen = choose_dialogues(rows, settings["max_dialogues"], settings["seed"])
    limit, system = settings["max_turns_per_dialogue"], settings["system"]
    prompts = [prompt for row in chosen for prompt in dialogue_prompts(row, limit, system)]
    if not prompts:
        raise UserError(
            f"{path} holds no counsellor turn to answer ({len(rows)} dialogues read); raise the "
            f"share of test data"
        )
    return prompts


def render(prompts: Iterable[Prompt], chat: ChatTokenizer) -> list[str]:
    """The text that each prompt becomes under the model's chat template."""
    return [chat.render(prompt.messages, add_generation_prompt=True) for prompt in prompts]


def sha256_prompts(prompts: Sequence[Prompt], texts: Sequence[str]) -> str:
    """Hash of ids and rendered prompts: equal for two models exactly if both were asked the same,
    byte for byte.
    """
    digest = hashlib.sha256()
    for prompt, text in zip(prompts, texts, strict=True):
        digest.update(f"{prompt.id}\0{text}\0".encode())
    return digest.hexdigest()


def split_by_room(
    prompts: Sequence[Prompt], lengths: Sequence[int], room: int
) -> tuple[list[Prompt], list[dict[str, Any]]]:
    """Prompts of at most `room` tokens, and for each of the others a line for the record."""
    fitting = [prompt for prompt, length in zip(prompts, lengths, strict=True) if length <= room]
    skipped = [
        {
            "id": prompt.id,
            "reason": f"prompt of {length} tokens, over session_len - max_new_tokens = {room}",
        }
        for prompt, length in zip(prompts, lengths, strict=True)
        if length > room
    ]
    return fitting, skipped


def ask_all(
    client: Client, prompts: Sequence[Prompt], max_tokens: int, concurrency: int, log: Path
) -> list[Reply]:
    """Answers in the order of the prompts; the first request that fails ends it."""
    from openai import OpenAIError

    replies = []
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            for reply in pool.map(lambda prompt: client.chat(prompt.messages, max_tokens), prompts):
                replies.append(reply)
                if len(replies) % 100 == 0:
                    print(f"answered {len(replies)} of {len(prompts)} prompts")
        except OpenAIError as error:
            pool.shutdown(cancel_futures=True)
            asked = prompts[len(replies)].id
            raise UserError(
                f"the server did not answer {asked} ({type(error).__name__}: {error}); read {log}"
            ) from error
    return replies


def to_row(prompt: Prompt, reply: Reply) -> dict[str, Any]:
    """A row of the replies file."""
    return {
        "id": prompt.id,
        "dialogue": prompt.dialogue,
        "turn": prompt.turn,
        "prompt": prompt.messages,
        "reference": prompt.reference,
        "reply": reply.text,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
    }


def summarise(
    prompts: Sequence[Prompt], replies: Sequence[Reply], lengths: Sequence[int]
) -> dict[str, Any]:
    """Counts for the record. `lengths` are our own token counts of the prompts; the server's
    should be the same.
    """
    n = len(replies)
    return {
        "n": n,
        "dialogues": len({prompt.dialogue for prompt in prompts}),
        "empty": sum(not reply.text.strip() for reply in replies),
        "truncated": sum(reply.finish_reason == "length" for reply in replies),
        "mean_prompt_tokens": round(sum(reply.prompt_tokens for reply in replies) / n, 2),
        "mean_completion_tokens": round(sum(reply.completion_tokens for reply in replies) / n, 2),
        "prompts_counted_otherwise_by_server": sum(
            reply.prompt_tokens != length for reply, length in zip(replies, lengths, strict=True)
        ),
    }


def generate(args: argparse.Namespace) -> dict[str, Any]:
    """Write the replies and return the facts of the record."""
    settings, engine = args.settings, {**args.engine, "python": args.engine_python}
    check_engine(engine)
    check_engine_node(engine, args.log)
    chat = load_chat(args.model)
    prompts = read_prompts(args.prompts, settings)
    lengths = chat.count(render(prompts, chat))
    room = engine["session_len"] - settings["max_new_tokens"]
    asked, skipped = split_by_room(prompts, lengths, room)
    if not asked:
        raise UserError(
            f"none of the {len(prompts)} prompts fits into {room} tokens; raise session_len or "
            f"lower max_new_tokens"
        )
    with serve(args.model, engine, args.log) as server:
        replies = ask_all(
            server.client(), asked, settings["max_new_tokens"], settings["concurrency"], args.log
        )
    write_jsonl(args.replies, map(to_row, asked, replies))
    texts = render(asked, chat)
    facts = summarise(asked, replies, chat.count(texts))
    print(
        "answered {n} prompts (empty {empty}, cut at the limit {truncated})".format(**facts)
        + f", skipped {len(skipped)}"
    )
    return {
        **facts,
        "skipped": skipped,
        "skipped_n": len(skipped),
        "prompts_sha256": sha256_prompts(asked, texts),
    }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--suite", required=True, choices=("dialogue",))
    parser.add_argument("--prompts", required=True, type=Path)
    add_made_by(parser)
    parser.add_argument(
        "--engine", required=True, type=json.loads, help="JSON: the config's serve branch"
    )
    parser.add_argument(
        "--engine-python", required=True, help="interpreter of the environment that serves"
    )
    parser.add_argument(
        "--settings", required=True, type=json.loads, help=f"JSON: {', '.join(sorted(SETTINGS))}"
    )
    parser.add_argument("--replies", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument("--log", required=True, type=Path, help="what the server prints")
    args = parser.parse_args()
    for name in sorted(SETTINGS ^ args.settings.keys()):
        raise UserError(
            f"--settings {'lacks' if name in SETTINGS else 'has an unknown key'} {name}; give "
            f"{sorted(SETTINGS)}"
        )
    return args


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([args.model, args.prompts], args.made_by)
    facts = generate(args)
    write_record(
        args.record,
        "generate_replies",
        inputs=inputs,
        outputs=[args.replies],
        params={"suite": args.suite, "engine": args.engine, "settings": args.settings},
        facts=facts,
        packages=["jinja2", "openai", "tokenizers"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
