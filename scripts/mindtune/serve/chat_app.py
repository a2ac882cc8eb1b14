"""The chat server's application: the endpoints of the OpenAI API, whole and as server-sent
events.
"""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from mindtune.serve.chat_requests import ChatRequest, Refused, parse, read_request
from mindtune.serve.decoder import Decoder, End, Job
from mindtune.serve.guards import (
    LimitBody,
    LimitRequests,
    Prove,
    RequireKey,
    body_limit,
    error_body,
)

# Seconds after which a client that waits is asked for
GONE_S = 1.0


async def reply(
    decoder: Decoder, prompt: list[int], limit: int, gone: Callable[[], Any]
) -> AsyncIterator[tuple[str, End | None]]:
    """Queue a prompt and yield its pieces; a client that is gone, or a closed iterator, cancels
    it.
    """
    loop, received = asyncio.get_running_loop(), asyncio.Queue()
    job = Job(
        prompt, limit, lambda text, end: loop.call_soon_threadsafe(received.put_nowait, (text, end))
    )
    decoder.jobs.put(job)
    asked, end = time.monotonic(), None
    try:
        while end is None:
            if time.monotonic() - asked >= GONE_S:
                if await gone():
                    return
                asked = time.monotonic()
            with suppress(TimeoutError):
                text, end = await asyncio.wait_for(received.get(), timeout=GONE_S)
                yield text, end
    finally:
        job.cancelled.set()


def usage(prompt: list[int], tokens: int) -> dict[str, int]:
    """The usage object of the OpenAI API."""
    return {
        "prompt_tokens": len(prompt),
        "completion_tokens": tokens,
        "total_tokens": len(prompt) + tokens,
    }


def event(model_name: str, number: int, choices: list[dict[str, Any]], **more: Any) -> str:
    """One server-sent event with a chat completion chunk."""
    chunk = {
        "id": f"chat-{number}",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": model_name,
        "choices": choices,
        **more,
    }
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"


async def stream(
    parts: AsyncIterator[tuple[str, End | None]],
    model_name: str,
    number: int,
    prompt: list[int],
    include_usage: bool,
) -> AsyncIterator[str]:
    """Server-sent events of a reply, ending in [DONE]."""
    yield event(
        model_name,
        number,
        [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
    )
    async for text, end in parts:
        if end is None:
            yield event(
                model_name,
                number,
                [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
            )
        elif end.reason == "error":
            yield (
                f"data: "
                f"{json.dumps(error_body(500, 'decoding failed; see the log of the server', 'internal_error'))}\n\n"  # noqa: E501
            )
        else:
            yield event(
                model_name, number, [{"index": 0, "delta": {}, "finish_reason": end.reason}]
            )
            if include_usage:
                yield event(model_name, number, [], usage=usage(prompt, end.tokens))
    yield "data: [DONE]\n\n"


class Prompts:
    """Bodies to prompts, away from the event loop and one at a time: what one costs, only one
    costs.
    """

    def __init__(self, decoder: Decoder, model_name: str) -> None:
        self.decoder, self.model_name, self.lock = decoder, model_name, threading.Lock()

    def read(self, body: bytes) -> tuple[ChatRequest, list[int]]:
        """A checked request and the token ids of its prompt."""
        with self.lock:
            asked = read_request(parse(body), self.model_name)
            return asked, self.decoder.encode(asked.messages)


def build_app(decoder: Decoder, model_name: str, key: str, most_requests: int) -> Any:
    """The application, behind its guards: proof, key, number of requests, length of a body."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    prompts, numbers = Prompts(decoder, model_name), itertools.count(1)

    @app.exception_handler(Refused)
    async def refuse(_: Request, refused: Refused) -> JSONResponse:
        return JSONResponse(
            error_body(refused.status, str(refused), refused.code), status_code=refused.status
        )

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "healthy"}

    @app.get("/metrics/")
    async def metrics() -> PlainTextResponse:
        name = "mindtune:generation_tokens_total"
        return PlainTextResponse(f"# TYPE {name} counter\n{name} {decoder.generated}\n")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {
            "object": "list",
            "data": [{"id": model_name, "object": "model", "created": 0, "owned_by": "mindtune"}],
        }

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Any:
        asked, prompt = await asyncio.to_thread(prompts.read, await request.body())
        room = decoder.session_len - len(prompt)
        parts = reply(decoder, prompt, min(asked.max_tokens or room, room), request.is_disconnected)
        number = next(numbers)
        if asked.stream:
            events = stream(parts, model_name, number, prompt, asked.include_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        return JSONResponse(await whole(parts, model_name, number, prompt))

    limited = LimitRequests(LimitBody(app, body_limit(decoder.session_len)), most_requests)
    return Prove(RequireKey(limited, key), key)


async def whole(
    parts: AsyncIterator[tuple[str, End | None]], model_name: str, number: int, prompt: list[int]
) -> dict[str, Any]:
    """A chat completion that is not streamed."""
    text, end = "", None
    async for piece, last in parts:
        text, end = text + piece, last
    if end is None or end.reason == "error":
        raise Refused(500, "decoding failed; see the log of the server", "internal_error")
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": end.reason,
    }
    answer = {
        "id": f"chat-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": model_name,
    }
    return {**answer, "choices": [choice], "usage": usage(prompt, end.tokens)}
