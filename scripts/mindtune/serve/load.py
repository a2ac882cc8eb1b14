"""Put a chat server under load from several processes and measure what comes back; no package, so
that the client is not the limit.

Every process keeps its share of the connections busy: one asks, reads the answer to its end, asks
again. Bytes are read as they come and parsed only where that is needed: the first event with text,
and the last one, which holds the usage.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

# Connections that one process serves without being the limit: some 5,000 events a second
PER_PROCESS = 16
# Processes are started before the clock is
START_S = 2.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Target:
    """What is asked: `body` holds the fields of every request beside messages and stream."""

    port: int
    api_key: str
    body: dict[str, Any]
    stream: bool

    def asking(self, **fields: Any) -> "Target":
        """The same target, asked with these fields, too."""
        return replace(self, body=self.body | fields)


@dataclass(frozen=True)
class Answer:
    """Clock times of the question, the first text (None: it came with the last) and the end;
    tokens as the server counted them.
    """

    asked: float
    first: float | None
    ended: float
    prompt_tokens: int
    completion_tokens: int


class LoadError(Exception):
    """A request that was not answered as it should be; the message is the server's."""


def request_bytes(target: Target, messages: list[dict[str, str]]) -> bytes:
    """The request as it goes over the wire; the connection ends with the answer."""
    fields = {**target.body, "messages": messages, "stream": target.stream}
    if target.stream:
        fields["stream_options"] = {"include_usage": True}
    body = json.dumps(fields).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer "
        f"{target.api_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: "
        f"close\r\n\r\n"
    )
    return head.encode() + body


async def ask(target: Target, messages: list[dict[str, str]]) -> Answer:
    """One request, timed."""
    asked = time.time()
    read = read_stream if target.stream else read_whole
    return await exchange(target, messages, lambda reader: read(reader, asked))


async def exchange(
    target: Target,
    messages: list[dict[str, str]],
    read: Callable[[asyncio.StreamReader], Awaitable[Result]],
) -> Result:
    """One request on a connection of its own, and what `read` makes of the answer; one that is no
    200 is a LoadError.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    try:
        writer.write(request_bytes(target, messages))
        status = await reader.readline()
        if b" 200 " not in status:
            raise LoadError(
                f"{status.decode().strip()}: {(await reader.read(2000)).decode(errors='replace')}"
            )
        return await read(reader)
    finally:
        writer.close()


async def read_whole(reader: asyncio.StreamReader, asked: float) -> Answer:
    """The answer to a request that was not streamed."""
    content = await reader.read(-1)
    ended = time.time()
    usage = json.loads(content[content.index(b"\r\n\r\n") :])["usage"]
    return Answer(asked, None, ended, usage["prompt_tokens"], usage["completion_tokens"])


async def read_stream(reader: asyncio.StreamReader, asked: float) -> Answer:
    """The events of a stream; the last one before [DONE] holds the usage."""
    first, ended = None, 0.0
    event = last = b""
    while line := await reader.readline():
        if not line.startswith(b"data: "):
            continue
        event, last = last, line
        if not first:
            choices = json.loads(line[6:]).get("choices") or [{}]
            if choices[0].get("delta", {}).get("content"):
                first = time.time()
        if line.startswith(b"data: [DONE]"):
            break
        ended = time.time()
    usage = json.loads(event[6:] or b"{}").get("usage")
    if not usage or not first:
        raise LoadError(f"the stream ended without text or usage, in {last[:200]!r}")
    return Answer(asked, first, ended, usage["prompt_tokens"], usage["completion_tokens"])


async def keep_busy(
    target: Target, chats: Sequence[list[dict[str, str]]], concurrency: int, start: float
) -> list[Answer]:
    """Answers to all chats, `concurrency` at a time, from the clock time `start` on."""
    waiting = iter(chats)
    await asyncio.sleep(max(0.0, start - time.time()))

    async def worker() -> list[Answer]:
        return [await ask(target, chat) for chat in waiting]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker()) for _ in range(concurrency)]
    return [answer for task in tasks for answer in task.result()]


def busy_process(
    target: Target, chats: Sequence[list[dict[str, str]]], concurrency: int, start: float
) -> list[Answer]:
    """One process's share; an error in it is raised as it was, not as a group."""
    try:
        return asyncio.run(keep_busy(target, chats, concurrency, start))
    except* (LoadError, OSError) as group:
        raise LoadError(
            f"{len(group.exceptions)} requests failed, the first with: {group.exceptions[0]}"
        ) from None


def load(target: Target, chats: Sequence[list[dict[str, str]]], concurrency: int) -> list[Answer]:
    """Ask all chats, `concurrency` at a time, and return the answers."""
    processes = max(1, min(concurrency // PER_PROCESS, os.cpu_count() or 1))
    if processes == 1:
        return busy_process(target, chats, concurrency, time.time())
    start = time.time() + START_S
    shares = [(concurrency + place) // processes for place in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [
            pool.submit(busy_process, target, chats[place::processes], share, start)
            for place, share in enumerate(shares)
        ]
        return [answer for future in futures for answer in future.result()]


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Median and 95th percentile (nearest rank)."""
    if not values:
        return {"p50": None, "p95": None}
    ranked = sorted(values)
    return {
        "p50": round(statistics.median(ranked), 4),
        "p95": round(ranked[-(-len(ranked) * 95 // 100) - 1], 4),
    }


def speeds(answers: Sequence[Answer]) -> dict[str, Any]:
    """Output tokens a second from the first question to the last answer, and TTFT and TPOT in
    seconds.

    TTFT: time to the first text. TPOT: time of each output token after the first. Whole answers
    have neither.
    """
    tokens = sum(answer.completion_tokens for answer in answers)
    wall = max(answer.ended for answer in answers) - min(answer.asked for answer in answers)
    streamed = [answer for answer in answers if answer.first is not None]
    ttft = [answer.first - answer.asked for answer in streamed]
    tpot = [
        (answer.ended - answer.first) / (answer.completion_tokens - 1)
        for answer in streamed
        if answer.completion_tokens > 1
    ]
    return {
        "requests": len(answers),
        "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
        "output_tokens": tokens,
        "tokens_per_s": round(tokens / wall, 2),
        **{f"ttft_s_{name}": value for name, value in percentiles(ttft).items()},
        **{f"tpot_s_{name}": value for name, value in percentiles(tpot).items()},
    }
