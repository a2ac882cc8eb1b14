"""What stands before a chat server's application: the proof of its key, the key that it asks for,
and a limit for the length of a body. Python alone, because LMDeploy's environment runs it too.

The proof lets a client find out whom it talks to before it sends the key: it gives a random number,
and only who knows the key can answer with the HMAC (RFC 2104) of it. The port is part of what is
signed, so that a program on another port cannot pass the question on to the real server.
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

PROOF_PATH = "/proof"
NONCE = re.compile("[0-9a-f]{32,64}")
# A body: 32 bytes for each token of a session, since JSON may write a character in 6, and at least
# 1 MiB
BYTES_PER_TOKEN = 32
LEAST_BODY = 1 << 20
BODY_S = 60.0
LINGER_S = 5.0
HEADERS = [(b"content-type", b"application/json"), (b"connection", b"close")]


def body_limit(session_len: int) -> int:
    """The most bytes that a body may have, for sessions of so many tokens."""
    return max(LEAST_BODY, BYTES_PER_TOKEN * session_len)


def proof(key: str, port: int, nonce: str) -> str:
    """What shows that the server on a port knows the key; deploy/health_check.py computes it
    too.
    """
    words = f"mindtune server on port {port}: {nonce}"
    return hmac.new(key.encode(), words.encode(), hashlib.sha256).hexdigest()


def error_body(status: int, message: str, code: str) -> dict[str, Any]:
    """The error object of the OpenAI API."""
    return {
        "error": {"message": message, "type": code, "param": None, "code": code, "status": status}
    }


async def answer(send: Any, status: int, body: Mapping[str, Any]) -> None:
    """Send a whole answer, after which the connection ends."""
    content = json.dumps(body, ensure_ascii=False).encode()
    headers = [*HEADERS, (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


class Prove:
    """ASGI middleware: GET /proof?nonce=HEX answers with the proof, without a key."""

    def __init__(self, app: Any, key: str) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != PROOF_PATH:
            return await self.app(scope, receive, send)
        nonces = parse_qs(scope["query_string"].decode("ascii", "replace")).get("nonce", [""])
        if not NONCE.fullmatch(nonces[0]):
            refusal = error_body(400, "nonce has to be 32 to 64 hex digits", "invalid_request")
            return await answer(send, 400, refusal)
        content = json.dumps({"proof": proof(self.key, scope["server"][1], nonces[0])}).encode()
        # the connection stays: what is asked next goes to whom the proof came from
        headers = [HEADERS[0], (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class RequireKey:
    """ASGI middleware: every path but /health needs the key as a bearer token."""

    def __init__(self, app: Any, key: str) -> None:
        self.app = app
        self.digest = hashlib.sha256(key.encode()).digest()

    def known(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the headers of a request hold the key; how long the answer takes tells
        nothing.
        """
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(
            hashlib.sha256(token).digest(), self.digest
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if (
            scope["type"] == "http"
            and scope["path"] != "/health"
            and not self.known(dict(scope["headers"]))
        ):
            refusal = error_body(401, "wrong or missing API key", "unauthorized")
            return await answer(send, 401, refusal)
        return await self.app(scope, receive, send)


class LimitRequests:
    """ASGI middleware: of more than so many posts at once, the others are told to come again."""

    def __init__(self, app: Any, most: int) -> None:
        self.app, self.most, self.now = app, most, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        if self.now >= self.most:
            words = f"{self.most:,} requests wait already; ask again later"
            return await answer(send, 503, error_body(503, words, "overloaded"))
        self.now += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.now -= 1


class LimitBody:
    """ASGI middleware: a body that is too long is answered with 413, whether it says so or not, and
    one that does not come within a minute with 408.
    """

    def __init__(self, app: Any, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = Body(receive, self.most)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self.most:
            return await body.refuse(send)

        async def unless_refused(message: Any) -> None:
            """What the application says about a body that it did not get is not sent."""
            if not body.refused:
                await send(message)

        try:
            await self.app(scope, body.part, unless_refused)
        except Exception:
            if not body.refused:
                raise
        if body.refused:
            await body.refuse(send)


class Body:
    """The body of one request on its way to the application."""

    def __init__(self, receive: Any, most: int) -> None:
        self.receive, self.most = receive, most
        self.read, self.more, self.refused = 0, True, 0
        self.deadline = asyncio.get_running_loop().time() + BODY_S

    async def part(self) -> Any:
        """The next part; for the application, a body that is refused ends as if the client hung
        up.
        """
        if self.refused:
            return {"type": "http.disconnect"}
        if not self.more:
            return await self.receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.receive()
        except TimeoutError:
            self.refused = 408
            return {"type": "http.disconnect"}
        self.more = message.get("more_body", False)
        self.read += len(message.get("body", b""))
        if self.read > self.most:
            self.refused = 413
            return {"type": "http.disconnect"}
        return message

    async def refuse(self, send: Any) -> None:
        """Answer why. What still comes is read and forgotten for a while: else the client would see
        a broken connection and no answer.
        """
        if self.refused == 408:
            late = f"the body did not come within {BODY_S:.0f} s"
            return await answer(send, 408, error_body(408, late, "timeout"))
        left = 16 * self.most
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self.more and left > 0:
                    message = await self.receive()
                    self.more = message.get("more_body", False)
                    left -= len(message.get("body", b""))
        words = f"the body has more than {self.most:,} bytes; send less"
        await answer(send, 413, error_body(413, words, "too_large"))
