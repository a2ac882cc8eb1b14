#!/usr/bin/env python3
"""Ask a served model for one token and say whether it answers: for systemd, SLURM and people.
Needs Python 3.9 and no package.

    python3 health_check.py --port 23333 --key-file FILE [--wait SECONDS]

An open port, or /health, comes long before a server that can answer, and may stay after it: only a
completed chat counts. Exit status 0 and the seconds that the chat took, or 1 and what went wrong
last.

The key is sent to nobody who has not proved to know it: the server answers a random number with its
HMAC, and the requests follow on the same connection.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import secrets
import sys
import time
from pathlib import Path

TIMEOUT = 30
# Of an answer, in bytes: what is longer comes from no server of ours
LONGEST = 1 << 20
SHOWN = 300
# Control characters but line break and tab, which a terminal would obey, and those that turn the
# direction of writing, as UNSEEN of mindtune/markdown.py: a text could show as another
TURNS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160), *TURNS])


class Refused(ValueError):
    """An answer that is not what a chat server says; the message is one line."""


def plain(text: str) -> str:
    """Text without the characters that a terminal obeys."""
    return text.translate(CONTROLS)


def proof(key: str, port: int, nonce: str) -> str:
    """What a server on a port answers who knows the key; serve/guards.py computes it too."""
    words = f"mindtune server on port {port}: {nonce}"
    return hmac.new(key.encode(), words.encode(), hashlib.sha256).hexdigest()


def connect(port: int, key: str, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
    """A connection to a server that has proved to know the key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    nonce = secrets.token_hex(32)
    try:
        connection.request("GET", f"/proof?nonce={nonce}")
        response = connection.getresponse()
        content = response.read(LONGEST)
        said = parse(content).get("proof") if response.status == 200 else None
        if not isinstance(said, str) or not hmac.compare_digest(
            said.encode(), proof(key, port, nonce).encode()
        ):
            raise Refused(
                "what listens there does not prove that it knows the key, which was not sent"
            )
        # never again to whoever took the port since
        connection.auto_open = 0
        return connection
    except BaseException:
        connection.close()
        raise


def send(
    connection: http.client.HTTPConnection, key: str, method: str, path: str, body: dict | None
) -> http.client.HTTPResponse:
    """One request on a proven connection; an answer other than 200 is Refused."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    if response.status != 200:
        said = plain(response.read(SHOWN).decode(errors="replace")).replace("\n", " ")
        raise Refused(f"{path} gives status {response.status}: {said}")
    return response


def parse(content: bytes) -> dict:
    """A JSON object; Refused if it is none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        said = plain(content[:SHOWN].decode(errors="replace"))
        raise Refused(f"the answer is no JSON object: {said!r}")
    return found


def ask(
    connection: http.client.HTTPConnection, key: str, method: str, path: str, body: dict | None
) -> dict:
    """The JSON object that a request is answered with."""
    content = send(connection, key, method, path, body).read(LONGEST + 1)
    if len(content) > LONGEST:
        raise Refused(f"the answer of {path} is longer than {LONGEST:,} bytes")
    return parse(content)


def model_name(connection: http.client.HTTPConnection, key: str) -> str:
    """The first model of the server's list."""
    found = ask(connection, key, "GET", "/v1/models", None)
    try:
        name = found["data"][0]["id"]
    except (LookupError, TypeError):
        name = None
    if not isinstance(name, str):
        raise Refused("the list of models has no name in it")
    return name


def chat(port: int, key: str) -> None:
    """A first token from the first model of the list."""
    connection = connect(port, key)
    try:
        messages = [{"role": "user", "content": "你好"}]
        body = {"messages": messages, "max_tokens": 1, "temperature": 0}
        body["model"] = model_name(connection, key)
        if not ask(connection, key, "POST", "/v1/chat/completions", body).get("choices"):
            raise Refused("the chat has no choice in it")
    finally:
        connection.close()


def read_key(path: Path) -> str:
    """The key in a file."""
    return path.read_text(encoding="ascii").strip()


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
            chat(args.port, read_key(args.key_file))
            print(f"answers, in {time.monotonic() - start:.2f} s")
            return 0
        except (OSError, ValueError, http.client.HTTPException) as error:
            if time.monotonic() >= deadline:
                said = plain(str(error) or type(error).__name__)
                print(f"does not answer: {said}", file=sys.stderr)
                return 1
        time.sleep(1)


if __name__ == "__main__":
    raise SystemExit(main())
