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

from health_check import Refused, connect, model_name, plain, read_key, send

NOTICE = (
    "这是一个语言模型，不是心理医生；有自伤或轻生的念头时，请拨打 12356、110 或 120。 /new "
    "重新开始，/quit 退出\n"
)
# Of a stream, in bytes
LONGEST_LINE = 1 << 20
LONGEST_REPLY = 16 << 20
GREEDY = {"temperature": 0, "top_p": 1, "top_k": 1, "repetition_penalty": 1.0}


def reply(port: int, key: str, body: dict) -> Iterator[str]:
    """Pieces of a streamed reply, from a server that proved to know the key; an answer other than
    200, or one that is no stream of events, is a ValueError.
    """
    connection = connect(port, key, timeout=600)
    try:
        response = send(
            connection, key, "POST", "/v1/chat/completions", {**body, **GREEDY, "stream": True}
        )
        left = LONGEST_REPLY
        while line := response.readline(LONGEST_LINE):
            left -= len(line)
            if left < 0 or len(line) == LONGEST_LINE:
                raise Refused("the reply is longer than any of a chat server's")
            if line.startswith(b"data: {"):
                yield from contents(line[len(b"data: ") :])
    finally:
        connection.close()


def contents(event: bytes) -> list[str]:
    """The texts in an event of a stream."""
    try:
        texts = [choice["delta"].get("content") or "" for choice in json.loads(event)["choices"]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        texts = [None]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(f"an event is not what a chat server sends: {plain(str(event[:100]))}")
    return texts


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
                    say(plain(piece))
            except ValueError as error:
                say(f"[{plain(str(error))}]\n")
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
        key = read_key(args.key_file)
        connection = connect(args.port, key)
        model = model_name(connection, key)
        connection.close()
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
            f"error: the server on port {args.port} does not answer ({plain(str(error))}); start "
            f"it "
            f"with make serve",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
