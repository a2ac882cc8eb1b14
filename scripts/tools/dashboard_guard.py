"""What stands before SwanLab's board: it answers its own page's questions, for whoever has the
address that was printed, and no others.

The board was made for one person's own machine: it checks neither who asks nor what for, one of
its routes reads any file, and others write and delete.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# What the page asks for. Not among them: media (reads any file), stop (writes), and everything
# that is no GET
NUMBER = "[0-9]{1,9}"
TABS = "index|chart|log|env(/(hardware|requirements))?"
PAGES = rf"/|/charts|/help|/404|/experiment/{NUMBER}(/({TABS}))?"
ASSETS = r"/assets/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.(js|css|ttf|png|ico)"
PROJECT = "/api/v1/project(/(summaries|charts))?"
EXPERIMENT = rf"/api/v1/experiment/{NUMBER}(/(status|summary|chart|tag/[a-z]+/[a-z_]+))?"
ROUTES = re.compile("|".join((PAGES, ASSETS, PROJECT, EXPERIMENT)))
# Nothing from elsewhere, nothing to elsewhere; the page's program sets styles and compiles its
# texts
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "worker-src blob:",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
REFUSED = (
    "open the address that make dashboard printed; through a tunnel use the same port at "
    "both ends\n"
)


class Guard:
    """An ASGI application that passes on what it lets through."""

    def __init__(self, app: App, port: int) -> None:
        self.app, self.port = app, port
        self.token = secrets.token_urlsafe(32)
        self.cookie = f"mindtune-dashboard-{port}"
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    def address(self) -> str:
        """What to open in a browser."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif (status := self.refusal(scope)) != 200:
            await answer(send, status, REFUSED)
        elif first_page(scope):
            await answer(send, 303, "", [(b"location", b"/"), (b"set-cookie", self.set_cookie())])
        else:
            await self.app(scope, receive, with_headers(send))

    def refusal(self, scope: Message) -> int:
        """The status of an answer: 200 if the board may give it, 403, 404 or 405 if not."""
        host, origin = header(scope, b"host"), header(scope, b"origin")
        if host not in self.hosts or origin not in ("", f"http://{host}"):
            return 403
        if scope["method"] not in ("GET", "HEAD"):
            return 405
        if not secrets.compare_digest(self.given(scope).encode(), self.token.encode()):
            return 403
        return 200 if ROUTES.fullmatch(scope["path"]) else 404

    def given(self, scope: Message) -> str:
        """The token of a request: in the address of the first page, in a cookie afterwards."""
        if first_page(scope):
            return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        try:
            cookie = SimpleCookie(header(scope, b"cookie")).get(self.cookie)
        except CookieError:
            return ""
        return cookie.value if cookie else ""

    def set_cookie(self) -> bytes:
        """The cookie that a browser sends with the page's own requests alone, and shows to no
        program.
        """
        return f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict".encode()


def first_page(scope: Message) -> bool:
    """Is it the address that was printed?"""
    return scope["path"] == "/" and b"token=" in scope["query_string"]


def header(scope: Message, name: bytes) -> str:
    """A request's header; one that is sent twice is none that is accepted."""
    found = [value for key, value in scope["headers"] if key.lower() == name]
    return b" , ".join(found).decode("latin-1")


def with_headers(send: Send) -> Send:
    """A `send` that adds our headers to the board's answers."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sent


async def answer(
    send: Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Give an answer of our own."""
    kind = (b"content-type", b"text/plain; charset=utf-8")
    send = with_headers(send)
    await send({"type": "http.response.start", "status": status, "headers": [kind, *headers]})
    await send({"type": "http.response.body", "body": text.encode()})
