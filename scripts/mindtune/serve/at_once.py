"""Ask a server on this machine many chats at once, and hand over every reply as it comes: one
thread and no package, so that the client is not the limit.

Each request has a connection of its own: one that is kept may be closed by the server at the moment
that it is used again.
"""

import asyncio
import json
import resource
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mindtune.cli import UserError
from mindtune.serve.client import GREEDY, GREEDY_EXTRA, Messages, Reply
from mindtune.serve.load import LoadError, Target, exchange

TIMEOUT_S = 600
# What a process opens beside its connections: a server its weights and its cards
MORE_FILES = 256


@dataclass(frozen=True)
class Request:
    """A chat and the longest reply to it, in tokens; `key` is the caller's name for it."""

    key: str
    messages: Messages
    max_tokens: int


class NotAnsweredError(Exception):
    """The first request without a reply, and why; `replies` came in before."""

    def __init__(self, request: Request, cause: Exception, replies: int) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.request, self.replies = request, replies


def make_room(concurrency: int) -> None:
    """Let this process, and the server that it starts, open a connection for each of so many
    requests; a UserError if the system allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed, unbounded = concurrency + MORE_FILES, resource.RLIM_INFINITY
    if hard != unbounded and hard < needed:
        raise UserError(
            f"evaluate.concurrency asks {concurrency} requests at a time, and this system lets a "
            f"process open {hard} files; set it to {max(1, hard - MORE_FILES)} at most, or raise "
            "the limit (ulimit -Hn)"
        )
    if soft != unbounded and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """The reply in an answer that was not streamed."""
    content = await reader.read(-1)
    answer = json.loads(content[content.index(b"\r\n\r\n") :])
    choice, usage = answer["choices"][0], answer["usage"]
    return Reply(
        choice["message"]["content"] or "",
        choice["finish_reason"],
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


async def ask_each(
    waiting: Iterable[Request],
    target: Target,
    concurrency: int,
    keep: Callable[[Request, Reply], None],
) -> None:
    """See `ask_all`; errors come in a group."""
    waiting, replies = iter(waiting), 0

    async def worker() -> None:
        nonlocal replies
        for request in waiting:
            asked = target.asking(max_tokens=request.max_tokens)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    reply = await exchange(asked, request.messages, read_reply)
            except (OSError, LoadError, ValueError, KeyError) as error:  # OSError: a timeout, too
                raise NotAnsweredError(request, error, replies) from error
            keep(request, reply)
            replies += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


def ask_all(
    requests: Iterable[Request],
    target: Target,
    concurrency: int,
    keep: Callable[[Request, Reply], None],
) -> None:
    """Ask all, greedily, `concurrency` at a time, in their order, and call `keep` with each reply
    as it comes. The first that is not answered ends it: NotAnsweredError.
    """
    greedy = target.asking(**GREEDY, **GREEDY_EXTRA)
    try:
        asyncio.run(ask_each(requests, greedy, concurrency, keep))
    except* Exception as group:  # as it was: an error of `keep`, too
        raise group.exceptions[0] from None
