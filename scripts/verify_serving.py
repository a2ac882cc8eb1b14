"""Serve an export and check, request by request, that it answers as it should; then end the server
and prove it gone.

The checks are functions in mindtune/serve/: checks.py, wire_checks.py, greedy_check.py. All of them
run, so that one report names everything that is wrong. Speeds (TTFT: time to first token; TPOT:
time per output token after the first), the card's memory and the KV cache's room are recorded and
judge nothing.

Reads   a model folder: what an export ships
Writes  the stage's record, only if every check passes, and the server's log
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mindtune.card_memory import card_memory
from mindtune.chat_template import ChatTokenizer, Message, load_chat
from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.fixed_chats import fixed_chats
from mindtune.provenance import add_made_by
from mindtune.records import write_record
from mindtune.safe_loading import check_folder
from mindtune.serve import checks, wire_checks
from mindtune.serve.checks import Case, Failed, user
from mindtune.serve.engine import Server, serve
from mindtune.serve.engine_settings import hashed_beside_checks
from mindtune.serve.greedy_check import LEAST_POSITIONS, check_greedy, transformers_replies
from mindtune.serve.kv_cache import kv_budget, reported_tokens
from mindtune.serve.levels import measure
from mindtune.serve.server_process import group_members, port_open

SETTINGS = ("prompts", "max_new_tokens", "concurrency", "levels", "near_tie")

CHECKS: tuple[Callable[[Case], str], ...] = (
    checks.check_model_list,
    checks.check_single_reply,
    checks.check_prompt_tokens,
    check_greedy,
    checks.check_streaming,
    checks.check_two_turns,
    checks.check_stop_token,
    checks.check_system_prompt,
    wire_checks.check_utf8,
    checks.check_max_tokens,
    wire_checks.check_wrong_key,
    checks.check_too_long_input,
    checks.check_hang_up,
    checks.check_concurrent,
    wire_checks.check_metrics,
)


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


def proven_chats(chat: ChatTokenizer) -> list[tuple[list[Message], int]]:
    """The fixed chats as far as their last question, with their prompt's number of tokens: the
    proof of the merge shows that training counts the same.
    """
    asked = [messages[:-1] for messages in fixed_chats().values()]
    texts = [chat.render(messages, add_generation_prompt=True) for messages in asked]
    return list(zip(asked, chat.count(texts), strict=True))


def greedy_replies(
    export: Path, engine: dict[str, Any], settings: dict[str, Any], chat: ChatTokenizer
) -> list[dict[str, Any]]:
    """Transformers' replies to the prompts, long enough to compare and within a session."""
    prompts = settings["prompts"]
    longest = max(chat.count([chat.render(user(text), True) for text in prompts]))
    tokens = min(max(LEAST_POSITIONS, settings["max_new_tokens"]), engine["session_len"] - longest)
    return transformers_replies(export, engine, prompts, tokens)


def smoke(
    export: Path, engine: dict[str, Any], settings: dict[str, Any], log: Path
) -> dict[str, Any]:
    """Serve, check, measure and end; return the facts, or raise UserError with the checks that
    failed.
    """
    check_folder(export)
    chat = load_chat(export)
    proven = proven_chats(chat)
    reference = greedy_replies(export, engine, settings, chat)
    memory = kv_budget(export, engine, card_memory())
    with serve(export, engine, log) as server:
        print(f"up after {server.startup_s:.1f} s")
        case = Case(
            server, server.client(), chat, settings["prompts"], settings["max_new_tokens"],
                settings["concurrency"],
            engine["session_len"], proven, reference, settings["near_tie"],
        )  # fmt: skip
        outcomes = [run_check(check, case) for check in CHECKS]
        broken = [check for check in outcomes if not check["passed"]]
        timings = (
            {}
            if broken
            else {"startup_s": round(server.startup_s, 2), **measure(case, settings["levels"])}
        )
        memory |= {
            "reported_tokens": reported_tokens(log),
            "card_bytes_used": [used for _, used in card_memory()],
        }
    outcomes.append(check_ended(server))
    broken = [check for check in outcomes if not check["passed"]]
    if broken:
        named = "; ".join(f"{check['name']}: {check['seen']}" for check in broken)
        raise UserError(
            f"{export} failed {len(broken)} of {len(outcomes)} smoke checks: {named} (the server's "
            f"log is {log})"
        )
    return {"checks": outcomes, "passed": len(outcomes), "memory": memory, "timings": timings}


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path, help="what an export ships")
    add_made_by(parser)
    parser.add_argument(
        "--engine", required=True, type=json.loads, help="JSON: the config's serve branch"
    )
    parser.add_argument(
        "--engine-python", required=True, help="interpreter of the environment that serves"
    )
    add_json(parser, "--settings", *SETTINGS)
    parser.add_argument("--smoke", required=True, type=Path)
    parser.add_argument("--server-log", required=True, type=Path)
    args = parser.parse_args()
    if not args.settings["prompts"]:
        raise UserError("--settings prompts is empty; give at least one short client turn")
    return args


def main() -> None:
    args = parse_args()
    engine = {**args.engine, "python": args.engine_python}
    inputs = hashed_beside_checks(engine, args.server_log, [args.model], args.made_by)
    facts = smoke(args.model, engine, args.settings, args.server_log)
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
