#!/usr/bin/env python3
"""Talk to a served model in a terminal: replies are streamed, the history is kept. /new starts
over, /quit or Ctrl-D ends.

    python3 chat.py --port 23333 --key-file FILE

Needs Python 3.9 and health_check.py beside it, no package. Greedy, as in the evaluation: the same
words get the same reply.

Reads   the key file, and what is typed
Writes  the dialogue to the terminal, nothing to a file
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from health_check import ask

NOTICE = (
    "这是一个语言模型，不是心理医生；有自伤或轻生的念头时，请拨打 12356、110 或 120。 /new "
    "重新开始，/quit 退出\n"
)
GREEDY = {"temperature": 0, "top_p": 1, "top_k": 1, "repetition_penalty": 1.0}


def reply(port: int, key: str, body: dict) -> Iterator[str]:
    """Pieces of a streamed reply; an answer other than 200 is a ValueError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request(
        "POST", "/v1/chat/completions", json.dumps({**body, **GREEDY, "stream": True}), headers
    )
    try:
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(
                f"status {response.status}: {response.read()[:300].decode(errors='replace')}"
            )
        for line in response:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[len(b"data: ") :])["choices"]:
                    yield choice["delta"].get("content") or ""
    finally:
        connection.close()


def talk(
    answer: Callable[[list[dict]], Iterator[str]],
    start: list[dict],
    read: Callable[[], str],
    say: Callable[[str], None],
) -> None:
    """Read client turns and say the model's, until the end of the input. A turn that is refused is
    not kept.
    """
    history = list(start)
    while True:
        say("\n> ")
        line = read()
        if not line or line.strip() == "/quit":
            return say("\n")
        if line.strip() == "/new":
            history = list(start)
        elif line.strip():
            turn, pieces = {"role": "user", "content": line.strip()}, []
            try:
                for piece in answer([*history, turn]):
                    pieces.append(piece)
                    say(piece)
            except ValueError as error:
                say(f"[{error}]\n")
                continue
            history += [turn, {"role": "assistant", "content": "".join(pieces)}]


def say(text: str) -> None:
    """Print at once, without a line end."""
    print(text, end="", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--key-file", required=True, type=Path)
    parser.add_argument(
        "--system", help="system prompt; without it, what the model's chat template puts there"
    )
    parser.add_argument("--max-tokens", type=int, default=512)
    args = parser.parse_args()
    try:
        key = args.key_file.read_text(encoding="ascii").strip()
        model = ask(args.port, key, "GET", "/v1/models")["data"][0]["id"]
        say(NOTICE)
        start = [{"role": "system", "content": args.system}] if args.system else []
        body = {"model": model, "max_tokens": args.max_tokens}
        talk(
            lambda chat: reply(args.port, key, {**body, "messages": chat}),
            start,
            sys.stdin.readline,
            say,
        )
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(
            f"error: the server on port {args.port} does not answer ({error}); start it with make "
            f"serve",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
