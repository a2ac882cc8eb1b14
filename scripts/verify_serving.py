"""Serve an export and check, request by request, that it answers as it should; then end the server
and prove it gone.

Every check is a function that returns what it saw, or raises Failed with what it saw. All of them
run, so that one report names everything that is wrong. Speeds (TTFT: time to first token; TPOT:
time per output token after the first), the card's memory and the KV cache's room are recorded and
judge nothing.

Reads   a model folder: what an export ships
Writes  the stage's record, only if every check passes, and the server's log
"""

import argparse
import http.client
import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.card_memory import card_memory
from mindtune.chat_template import ChatTokenizer, Message, load_chat
from mindtune.cli import UserError, run
from mindtune.fixed_chats import fixed_chats
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import write_record
from mindtune.safe_loading import check_folder
from mindtune.serve import greedy_reference
from mindtune.serve.client import GREEDY, GREEDY_EXTRA, Client, Reply
from mindtune.serve.engine import (
    Server,
    check_engine,
    check_engine_node,
    group_members,
    port_open,
    serve,
)
from mindtune.serve.kv_cache import kv_budget, reported_tokens
from mindtune.serve.load import Target, load, speeds

SETTINGS = {"prompts", "max_new_tokens", "concurrency", "levels", "near_tie"}
SYSTEM = "你是一位温和的心理咨询师，请用简短的话回答。"
FOLLOW_UP = "谢谢。那我今天可以先做哪一件小事？"
HANG_UPS = 3
# LMDeploy counts a reply's tokens some time after it sent them
METRICS_S = 15


class Failed(Exception):
    """A check that did not hold; the message is what was seen."""


@dataclass(frozen=True)
class Case:
    """What the checks work on: a server, its model's tokenizer, and the settings."""

    server: Server
    client: Client
    chat: ChatTokenizer
    prompts: list[str]
    max_tokens: int
    concurrency: int
    session_len: int
    # chats whose prompt tokens training counted, and transformers' own replies to the prompts
    proven: list[tuple[list[Message], int]]
    reference: list[dict[str, Any]]
    near_tie: float

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt, as training counts them."""
        return self.chat.count([self.chat.render(messages, add_generation_prompt=True)])[0]


def user(text: str) -> list[Message]:
    """A chat of one client turn."""
    return [{"role": "user", "content": text}]


def expect(holds: bool, seen: str) -> str:
    """Return what was seen if it is right."""
    if not holds:
        raise Failed(seen)
    return seen


def short(reply: Reply) -> str:
    """The start of a reply's text, and how it ended."""
    text = reply.text if len(reply.text) <= 60 else reply.text[:60] + "..."
    return f"{text!r} ({reply.finish_reason} after {reply.completion_tokens} tokens)"


def check_model_list(case: Case) -> str:
    """The model list holds the served name."""
    models = case.client.models()
    return expect(case.server.model_name in models, f"models {models}")


def check_single_reply(case: Case) -> str:
    """Each prompt gets a reply with text in it and a proper end."""
    replies = [case.client.chat(user(prompt), case.max_tokens) for prompt in case.prompts]
    good = all(
        reply.text.strip() and reply.finish_reason in ("stop", "length") for reply in replies
    )
    return expect(good, "; ".join(map(short, replies)))


def check_prompt_tokens(case: Case) -> str:
    """The server renders prompts as training did: as many tokens for our prompts, and for the
    fixed chats.
    """
    chats = [(user(prompt), case.count(user(prompt))) for prompt in case.prompts]
    chats += [(chat, tokens) for chat, tokens in case.proven]
    served = [case.client.chat(chat, 1).prompt_tokens for chat, _ in chats]
    trained = [tokens for _, tokens in chats]
    return expect(served == trained, f"server {served}, training {trained}")


def check_greedy(case: Case) -> str:
    """Replies are those of plain transformers up to the first near-tie, which is shown."""
    seen, wrong = [], []
    for prompt, wanted in zip(case.prompts, case.reference, strict=True):
        place = parting(wanted, case.client.chat(user(prompt), case.max_tokens))
        if place is None:
            seen.append(f"all {len(wanted['texts']) - 1} tokens")
            continue
        margin = wanted["margins"][place]
        seen.append(f"{place} tokens, then a choice {margin:.3g} deviations apart")
        wrong += [place] if margin > case.near_tie else []
    return expect(
        not wrong, f"equal to transformers for {'; '.join(seen)} (near tie: {case.near_tie})"
    )


def parting(wanted: dict[str, Any], reply: Reply) -> int | None:
    """The number of the first token at which a reply leaves the reference; None if it is the
    reference.

    A text that ends in half a character (U+FFFD) is compared without it.
    """
    for place, text in enumerate(wanted["texts"]):
        if not reply.text.startswith(text.rstrip("\ufffd")):
            return place - 1
    if (reply.text, reply.finish_reason) == (wanted["texts"][-1], wanted["finish_reason"]):
        return None
    return len(wanted["margins"]) - 1


def check_metrics(case: Case) -> str:
    """/metrics counts generated tokens: more after a reply than before, though perhaps not at
    once.
    """
    before = generated_tokens(case.server)
    tokens = case.client.chat(user(case.prompts[0]), case.max_tokens).completion_tokens
    deadline = time.monotonic() + METRICS_S
    while (
        after := generated_tokens(case.server)
    ) < before + tokens and time.monotonic() < deadline:
        time.sleep(0.2)
    return expect(
        after >= before + tokens,
        f"{before:.0f} generated tokens, {after:.0f} after a reply of {tokens}",
    )


def generated_tokens(server: Server) -> float:
    """The counter of generated tokens in the server's metrics, in the text format of Prometheus."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/metrics/", headers={"Authorization": f"Bearer {server.api_key}"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    found = re.findall(r"^\w+:generation_tokens_total(?:\{[^}]*\})? (\S+)$", text, re.M)
    if response.status != 200 or not found:
        raise Failed(
            f"/metrics gives status {response.status} and no generation_tokens_total: "
            f"{text[:100]!r}"
        )
    return float(found[0])


def check_streaming(case: Case) -> str:
    """A streamed reply is the whole reply, piece by piece."""
    whole = case.client.chat(user(case.prompts[0]), case.max_tokens)
    streamed = case.client.stream(user(case.prompts[0]), case.max_tokens)
    if streamed.reply != whole:
        raise Failed(f"streamed {streamed.reply} is not {whole}")
    return f"{len(streamed.pieces)} pieces, together {short(whole)}"


def check_two_turns(case: Case) -> str:
    """The second turn's prompt holds the first turns: all of their tokens are counted."""
    first = user(case.prompts[0])
    reply = case.client.chat(first, case.max_tokens)
    history = [*first, {"role": "assistant", "content": reply.text}, *user(FOLLOW_UP)]
    second, alone = case.client.chat(history, case.max_tokens), case.client.chat(user(FOLLOW_UP), 1)
    seen = (
        f"{second.prompt_tokens} prompt tokens with the first turns, {alone.prompt_tokens} without"
    )
    return expect(
        bool(second.text.strip())
        and second.prompt_tokens == case.count(history) > alone.prompt_tokens,
        seen,
    )


def check_stop_token(case: Case) -> str:
    """A reply ends at the end token or at the limit, and no special token's text leaks into it."""
    replies = [case.client.chat(user(prompt), case.max_tokens) for prompt in case.prompts]
    ends = [
        f"{reply.finish_reason} after {reply.completion_tokens} of {case.max_tokens} tokens"
        for reply in replies
    ]
    leaks = sorted(
        {
            token
            for token in case.chat.special
            for reply in replies
            if token.startswith("<|") and token in reply.text
        }
    )
    cut_short = [
        reply
        for reply in replies
        if reply.finish_reason == "length" and reply.completion_tokens < case.max_tokens
    ]
    return expect(
        not leaks and not cut_short,
        "; ".join(ends) + f"; special tokens in the text: {leaks or 'none'}",
    )


def check_system_prompt(case: Case) -> str:
    """A system turn takes its place in the prompt."""
    chat = [{"role": "system", "content": SYSTEM}, *user(case.prompts[0])]
    got = case.client.chat(chat, 1).prompt_tokens
    longer = case.client.chat(
        [{"role": "system", "content": SYSTEM * 2}, *user(case.prompts[0])], 1
    ).prompt_tokens
    seen = (
        f"{got} prompt tokens with a system turn (template: {case.count(chat)}), {longer} with "
        f"it twice as long"
    )
    return expect(got == case.count(chat) < longer, seen)


def check_utf8(case: Case) -> str:
    """No streamed piece holds half a character: every event is UTF-8, and the pieces join to the
    whole.
    """
    broken, wide = [], 0
    for prompt in case.prompts:
        whole = case.client.chat(user(prompt), case.max_tokens).text
        joined = "".join(raw_pieces(case.server, user(prompt), case.max_tokens))
        wide += sum(sign > "\x7f" for sign in whole)
        if joined != whole:
            broken.append(f"{joined!r} is not {whole!r}")
    return expect(
        not broken,
        "; ".join(broken)
        or f"{len(case.prompts)} replies whole, {wide} of their characters beyond ASCII",
    )


def raw_pieces(server: Server, messages: list[Message], max_tokens: int) -> list[str]:
    """Pieces of a streamed reply, read from the bytes of its events; bytes that are not UTF-8
    raise Failed.
    """
    body = {
        "model": server.model_name,
        "messages": messages,
        "max_tokens": max_tokens,
        "stream": True,
    }
    body |= {"temperature": 0, "top_p": 1, "top_k": 1, "repetition_penalty": 1.0}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.api_key}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    texts = []
    with connection.getresponse() as response:
        for line in response.read().split(b"\n"):
            if line.startswith(b"data: {"):
                try:
                    choices = json.loads(line.removeprefix(b"data: ").decode("utf-8"))["choices"]
                except UnicodeDecodeError as error:
                    raise Failed(f"an event is not UTF-8: {error}") from error
                texts += [choice["delta"].get("content") or "" for choice in choices]
    connection.close()
    return texts


def check_max_tokens(case: Case) -> str:
    """max_tokens is an upper bound."""
    replies = [case.client.chat(user(case.prompts[0]), limit) for limit in (1, 3)]
    seen = [f"{reply.completion_tokens} tokens ({reply.finish_reason})" for reply in replies]
    good = all(
        reply.completion_tokens <= limit for reply, limit in zip(replies, (1, 3), strict=True)
    )
    return expect(good, "limits 1 and 3: " + ", ".join(seen))


def check_wrong_key(case: Case) -> str:
    """A wrong key and no key are refused with 401, for the model list and for a chat."""
    seen = []
    for key in ("wrong", ""):
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
            connection = http.client.HTTPConnection("127.0.0.1", case.server.port, timeout=60)
            body = json.dumps(
                {
                    "model": case.server.model_name,
                    "messages": user("你好"),
                    "temperature": 0,
                    "max_tokens": 1,
                }
            )
            headers = {"Content-Type": "application/json"} | (
                {"Authorization": f"Bearer {key}"} if key else {}
            )
            connection.request(method, path, body if method == "POST" else None, headers)
            seen.append(connection.getresponse().status)
            connection.close()
    return expect(set(seen) == {401}, f"statuses {seen}")


def check_too_long_input(case: Case) -> str:
    """A prompt over the session length is refused with a 4xx, and the server answers the next
    one.
    """
    from openai import APIStatusError

    text = case.prompts[0]
    while (tokens := case.count(user(text))) <= case.session_len:
        text *= 2
    try:
        reply = case.client.chat(user(text), 1)
        raise Failed(f"answered a prompt of {tokens} tokens with {short(reply)}")
    except APIStatusError as error:
        status = error.status_code
    after = case.client.chat(user(case.prompts[0]), case.max_tokens)
    seen = f"status {status} for {tokens} tokens, then {short(after)}"
    return expect(400 <= status < 500 and bool(after.text.strip()), seen)


def check_hang_up(case: Case) -> str:
    """Clients that hang up in the middle of a reply leave the server able to give the next one."""
    for _ in range(HANG_UPS):
        chunks = case.client.chunks(user(case.prompts[-1]), case.session_len // 2)
        next(chunks)
        chunks.close()
    after = case.client.chat(user(case.prompts[0]), case.max_tokens)
    return expect(bool(after.text.strip()), f"{HANG_UPS} clients hung up, then {short(after)}")


def check_concurrent(case: Case) -> str:
    """As many requests at once as the settings say are all answered."""
    replies = at_once(case, lambda prompt: case.client.chat(user(prompt), case.max_tokens))
    answered = sum(bool(reply.text.strip()) for reply in replies)
    return expect(
        answered == case.concurrency, f"{answered} of {case.concurrency} requests answered at once"
    )


CHECKS: tuple[Callable[[Case], str], ...] = (
    check_model_list,
    check_single_reply,
    check_prompt_tokens,
    check_greedy,
    check_streaming,
    check_two_turns,
    check_stop_token,
    check_system_prompt,
    check_utf8,
    check_max_tokens,
    check_wrong_key,
    check_too_long_input,
    check_hang_up,
    check_concurrent,
    check_metrics,
)


def at_once(case: Case, ask: Callable[[str], Any]) -> list[Any]:
    """Answers to `concurrency` requests made at the same time, the prompts in turn."""
    prompts = [case.prompts[number % len(case.prompts)] for number in range(case.concurrency)]
    with ThreadPoolExecutor(case.concurrency) as pool:
        return list(pool.map(ask, prompts))


def run_check(check: Callable[[Case], str], case: Case) -> dict[str, Any]:
    """The outcome of one check: its name, whether it held, and what was seen."""
    name = check.__name__.removeprefix("check_")
    try:
        seen, passed = check(case), True
    except Failed as failure:
        seen, passed = str(failure), False
    except Exception as error:  # a request that fails is what a check is there to find
        seen, passed = f"{type(error).__name__}: {error}", False
    print(f"{'passed' if passed else 'FAILED'} {name}: {seen}")
    return {"name": name, "passed": passed, "seen": seen}


def check_ended(server: Server) -> dict[str, Any]:
    """After the server was ended: no process of its group is left and its port is closed."""
    left, still_open = group_members(server.group), port_open(server.port)
    seen = f"processes left: {left or 'none'}; port {'open' if still_open else 'closed'}"
    print(f"server ended: {seen}")
    return {"name": "server_ended", "passed": not left and not still_open, "seen": seen}


def measure(case: Case, levels: Sequence[int]) -> dict[str, Any]:
    """Speeds at each number of requests at once: two rounds of them, at least each prompt once."""
    body = {
        "model": case.server.model_name,
        "max_tokens": case.max_tokens,
        **GREEDY,
        **GREEDY_EXTRA,
    }
    target = Target(case.server.port, case.server.api_key, body, stream=True)
    rows = {}
    for level in levels:
        prompts = [
            case.prompts[number % len(case.prompts)]
            for number in range(max(2 * level, len(case.prompts)))
        ]
        rows[f"concurrency_{level}"] = speeds(
            load(target, [user(prompt) for prompt in prompts], level)
        )
    return rows


def proven_chats(chat: ChatTokenizer) -> list[tuple[list[Message], int]]:
    """The fixed chats as far as their last question, with their prompt's number of tokens: the
    proof of the merge shows that training counts the same.
    """
    asked = [messages[:-1] for messages in fixed_chats().values()]
    texts = [chat.render(messages, add_generation_prompt=True) for messages in asked]
    return list(zip(asked, chat.count(texts), strict=True))


def transformers_replies(
    export: Path, engine: dict[str, Any], settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """What plain transformers, in the environment that serves, replies to the prompts (see
    greedy_reference.py).
    """
    command = [
        engine["python"],
        "-P",
        greedy_reference.__file__,
        "--model",
        str(export),
        "--device",
        engine["device"],
    ]
    command += [
        "--max-tokens",
        str(settings["max_new_tokens"]),
        "--threads",
        str(engine["threads"]),
    ]
    chats = json.dumps([user(prompt) for prompt in settings["prompts"]])
    done = subprocess.run(command, input=chats, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(
            f"{export}: transformers gave no replies to compare the server's with; its message is "
            f"above"
        )
    return json.loads(done.stdout)


def smoke(
    export: Path, engine: dict[str, Any], settings: dict[str, Any], log: Path
) -> dict[str, Any]:
    """Serve, check, measure and end; return the facts, or raise UserError with the checks that
    failed.
    """
    check_engine(engine)
    check_engine_node(engine, log)
    check_folder(export)
    chat = load_chat(export)
    proven = proven_chats(chat)
    reference = transformers_replies(export, engine, settings)
    memory = kv_budget(export, engine, card_memory())
    with serve(export, engine, log) as server:
        print(f"up after {server.startup_s:.1f} s")
        case = Case(
            server, server.client(), chat, settings["prompts"], settings["max_new_tokens"], settings["concurrency"],
            engine["session_len"], proven, reference, settings["near_tie"],
        )  # fmt: skip
        checks = [run_check(check, case) for check in CHECKS]
        broken = [check for check in checks if not check["passed"]]
        timings = (
            {}
            if broken
            else {"startup_s": round(server.startup_s, 2), **measure(case, settings["levels"])}
        )
        memory |= {
            "reported_tokens": reported_tokens(log),
            "card_bytes_used": [used for _, used in card_memory()],
        }
    checks.append(check_ended(server))
    broken = [check for check in checks if not check["passed"]]
    if broken:
        named = "; ".join(f"{check['name']}: {check['seen']}" for check in broken)
        raise UserError(
            f"{export} failed {len(broken)} of {len(checks)} smoke checks: {named} (the server's "
            f"log is {log})"
        )
    return {"checks": checks, "passed": len(checks), "memory": memory, "timings": timings}


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, type=Path, help="what an export ships")
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
    parser.add_argument("--smoke", required=True, type=Path)
    parser.add_argument("--server-log", required=True, type=Path)
    args = parser.parse_args()
    for name in sorted(SETTINGS ^ args.settings.keys()):
        raise UserError(
            f"--settings {'lacks' if name in SETTINGS else 'has an unknown key'} {name}; give "
            f"{sorted(SETTINGS)}"
        )
    if not args.settings["prompts"]:
        raise UserError("--settings prompts is empty; give at least one short client turn")
    return args


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([args.model], args.made_by)
    facts = smoke(
        args.model,
        {**args.engine, "python": args.engine_python},
        args.settings,
        args.server_log,
    )
    write_record(
        args.smoke,
        "verify_serving",
        inputs=inputs,
        outputs=[],
        params={"engine": args.engine, "settings": args.settings},
        facts=facts,
        packages=["jinja2", "openai", "tokenizers"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
