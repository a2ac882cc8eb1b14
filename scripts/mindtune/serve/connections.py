"""Connections of the server that decodes with transformers: how many, and how long one may wait.

A client without a key can open connections and say nothing, or a byte a second. So a request's head
has to come within 10 s; of too many connections those that wait longest are closed, and never one
whose request is being answered. A process that has no file descriptor left cannot even say so:
the number of connections leaves room for what else it opens.
"""

import asyncio
import errno
import resource
import socket
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
# For a client that reads its answer: how long it may take none of it
READ_S = 60.0
BACKLOG = 128
# Descriptors for the model's files, pipes and Python; and a burst that is taken before one is
# closed
SPARE = 2 * BACKLOG
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
LOG_S = 60.0


def room(wanted: int) -> int:
    """How many connections this process can hold, at most `wanted`; its limit of open files is
    raised as far as it goes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + SPARE if hard == resource.RLIM_INFINITY else min(wanted + SPARE, hard)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(1, min(wanted, files - SPARE))


class Connection(H11Protocol):
    """uvicorn's protocol with a limit of connections and times."""

    most: ClassVar[int] = 512
    # all connections, and those that wait for a request, the longest first
    taken: ClassVar[set["Connection"]] = set()
    idle: ClassVar[dict["Connection", None]] = {}
    timer: asyncio.TimerHandle | None = None
    reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.taken.add(self)
        self.waits()
        if len(self.taken) > self.most:
            next(iter(self.idle)).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.forget()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self.idle.pop(self, None)
            self.stop_timer()
        elif self in self.taken and self.timer is None:
            self.waits()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self in self.taken:
            self.idle[self] = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.reading = self.loop.call_later(READ_S, self.drop)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.reading:
            self.reading.cancel()
            self.reading = None

    def waits(self) -> None:
        """From now on this connection waits for the head of a request."""
        self.idle.setdefault(self)
        self.timer = self.loop.call_later(HEAD_S, self.drop)

    def drop(self) -> None:
        """Close at once."""
        self.forget()
        self.transport.abort()

    def forget(self) -> None:
        """Count this connection no longer."""
        self.taken.discard(self)
        self.idle.pop(self, None)
        self.stop_timer()

    def stop_timer(self) -> None:
        """The head is here, or nobody waits for it any more."""
        if self.timer:
            self.timer.cancel()
            self.timer = None


class Complaints:
    """An exception handler of a loop: connections that cannot be taken are logged once a minute."""

    def __init__(self) -> None:
        self.last, self.more = -LOG_S, 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in OUT_OF_FILES:
            return loop.default_exception_handler(dict(context))
        self.more += 1
        if time.monotonic() - self.last >= LOG_S:
            print(f"connections cannot be taken ({error}), {self.more} times", flush=True)
            self.last, self.more = time.monotonic(), 0


def listen(port: int) -> socket.socket:
    """A listening socket on a loopback port, a free one for 0.

    asyncio sends small packets at once (TCP_NODELAY) only where the socket says that it is TCP.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return listener
