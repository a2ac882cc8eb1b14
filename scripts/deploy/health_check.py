#!/usr/bin/env python3
"""Ask a served model for one token and say whether it answers: for systemd, SLURM and people.
Needs Python 3.9 and no package.

    python3 health_check.py --port 23333 --key-file FILE [--wait SECONDS]

An open port, or /health, comes long before a server that can answer, and may stay after it: only a
completed chat counts. Exit status 0 and the seconds that the chat took, or 1 and what went wrong
last.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from pathlib import Path

TIMEOUT = 30


def ask(port: int, key: str, method: str, path: str, body: dict | None = None) -> dict:
    """One request; an answer other than 200 is a ValueError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise ValueError(
                f"{path} gives status {response.status}: {content[:200].decode(errors='replace')}"
            )
        return json.loads(content)
    finally:
        connection.close()


def chat(port: int, key: str) -> None:
    """A first token from the first model of the list."""
    model = ask(port, key, "GET", "/v1/models")["data"][0]["id"]
    messages = [{"role": "user", "content": "你好"}]
    body = {"model": model, "messages": messages, "max_tokens": 1, "temperature": 0}
    if not ask(port, key, "POST", "/v1/chat/completions", body)["choices"]:
        raise ValueError("the chat has no choice in it")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--key-file", required=True, type=Path)
    parser.add_argument(
        "--wait", type=float, default=0, help="seconds to go on asking a server that starts"
    )
    args = parser.parse_args()
    deadline = time.monotonic() + args.wait
    while True:
        start = time.monotonic()
        try:
            # read each time: a server that starts may be about to make it
            chat(args.port, args.key_file.read_text(encoding="ascii").strip())
            print(f"answers, in {time.monotonic() - start:.2f} s")
            return 0
        except (OSError, ValueError, KeyError, IndexError, http.client.HTTPException) as error:
            if time.monotonic() >= deadline:
                print(f"does not answer: {error or type(error).__name__}", file=sys.stderr)
                return 1
        time.sleep(1)


if __name__ == "__main__":
    raise SystemExit(main())
