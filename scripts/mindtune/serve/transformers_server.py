"""An OpenAI-compatible chat server over a local safetensors model, for machines without LMDeploy's
GPU stack.

Greedy decoding only, one request at a time; others wait in the order in which they came. Loopback
only. Endpoints: /health (no key), /metrics, /v1/models, /v1/chat/completions (whole, or streamed
as server-sent events).

Reads   a model folder; the API key from the file that MINDTUNE_API_KEY_FILE names
Writes  `--port-file`, once the model is loaded and the port takes connections
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import queue
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# last on the path: our programs have names that a library's module may have
sys.path.append(str(Path(__file__).resolve().parents[2]))

from mindtune.chat_template import load_chat_template
from mindtune.cli import run
from mindtune.safe_loading import end_tokens, load_model, load_tokenizer

KEY_VARIABLE = "MINDTUNE_API_KEY_FILE"
# Fields that change what is decoded, and the one value of each that is greedy
GREEDY = {"temperature": 0, "top_p": 1, "top_k": 1, "repetition_penalty": 1, "n": 1}
OTHER_FIELDS = {"model", "messages", "max_tokens", "stream", "stream_options"}
ROLES = ("system", "user", "assistant")


class Refused(Exception):
    """A request that is answered with an error status; the message is what the client reads."""

    def __init__(self, status: int, message: str, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class ChatRequest:
    """A checked request body. `max_tokens` None: as many as the session length leaves."""

    messages: list[dict[str, str]]
    max_tokens: int | None
    stream: bool
    include_usage: bool


@dataclass
class Job:
    """A prompt on its way to the decoding thread. `emit` takes (text, None) for a piece and ("",
    End) at the end.
    """

    prompt: list[int]
    limit: int
    emit: Callable[[str, "End | None"], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class End:
    """How a reply ended (`stop`, `length`, `error`) and its tokens, the end token not counted, as
    LMDeploy counts.
    """

    reason: str
    tokens: int


def read_request(body: Any, model_name: str) -> ChatRequest:
    """Check a request body; whatever this server would not do exactly as asked is refused, with
    the reason.
    """
    if not isinstance(body, dict):
        raise Refused(400, "the body is not a JSON object")
    if body.get("model") != model_name:
        raise Refused(
            404,
            f"there is no model {body.get('model')!r} here, only {model_name!r}",
            "model_not_found",
        )
    unknown = sorted(body.keys() - OTHER_FIELDS - GREEDY.keys())
    if unknown:
        raise Refused(
            400,
            f"unknown field {unknown[0]!r}; this server knows "
            f"{sorted(OTHER_FIELDS | GREEDY.keys())}",
        )
    if "temperature" not in body:
        raise Refused(
            400,
            "temperature is missing, which means sampling at 1; this server decodes greedily only: "
            "send temperature 0",
        )
    for name, greedy in GREEDY.items():
        if name in body and (isinstance(body[name], bool) or body[name] != greedy):
            raise Refused(
                400,
                f"{name} is {body[name]!r}; this server decodes greedily only: send {name} "
                f"{greedy}",
            )
    limit = body.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise Refused(400, f"max_tokens is {limit!r}; it has to be a whole number above 0")
    options = body.get("stream_options") or {}
    if not isinstance(body.get("stream", False), bool) or not isinstance(options, dict):
        raise Refused(400, "stream has to be true or false, and stream_options an object")
    return ChatRequest(
        messages=read_messages(body.get("messages")),
        max_tokens=limit,
        stream=body.get("stream", False),
        include_usage=bool(options.get("include_usage", False)),
    )


def read_messages(messages: Any) -> list[dict[str, str]]:
    """Check the messages: a list of {"role", "content"} with text as content."""
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages has to be a list with at least one message")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            raise Refused(
                400,
                f"messages[{number}] has to be an object with role and content and nothing else",
            )
        if message["role"] not in ROLES or not isinstance(message["content"], str):
            raise Refused(
                400, f"messages[{number}] needs a role out of {ROLES} and text as content"
            )
        if not message["content"].isprintable() and any(
            "\ud800" <= sign <= "\udfff" for sign in message["content"]
        ):
            raise Refused(
                400, f"messages[{number}] holds half of a surrogate pair, which is no text"
            )
    return messages


def settled(text: str) -> str:
    """The part of a decoded text that later tokens cannot change: without the half character that
    it may end in.

    A decoder shows the bytes of an unfinished UTF-8 character as U+FFFD.
    """
    return text.rstrip("\ufffd")


def pieces(
    tokens: Iterator[int], decode: Callable[[list[int]], str], ids: list[int]
) -> Iterator[str]:
    """Yield a reply's text as it grows, whole characters only; joined, the pieces are decode(all
    tokens).

    The tokens are also appended to `ids`.
    """
    sent = 0
    for token in tokens:
        ids.append(token)
        text = settled(decode(ids))
        if len(text) > sent:
            yield text[sent:]
            sent = len(text)
    rest = decode(ids)[sent:]
    if rest:
        yield rest


class Decoder:
    """The model, its tokenizer, and the one thread that uses them."""

    def __init__(self, folder: Path, device: str, threads: int, session_len: int) -> None:
        import torch

        torch.set_num_threads(threads)
        # bf16 is many times slower than fp32 on most CPUs, and fp32 holds every bf16 weight exactly
        dtype = torch.float32 if device == "cpu" else "auto"
        self.tokenizer, self.template = load_tokenizer(folder), load_chat_template(folder)
        model = load_model(folder, dtype)
        self.model = model.to("cuda" if device == "gpu" else "cpu").eval()
        # Only the end tokens are taken: a published generation_config also sets sampling and a
        # repetition penalty
        self.ends = set(end_tokens(folder, self.tokenizer))
        self.session_len = session_len
        self.generated = 0
        self.stopping = threading.Event()
        self.jobs: queue.Queue[Job | None] = queue.Queue()
        self.thread = threading.Thread(target=self.work, name="decode", daemon=True)
        self.thread.start()

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of the rendered prompt; a prompt that leaves no room for a reply is refused,
        as LMDeploy does.
        """
        try:
            text = self.template.render(messages, add_generation_prompt=True)
        except Exception as error:
            raise Refused(400, f"these messages cannot be rendered: {error}") from error
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) >= self.session_len:
            message = (
                f"the prompt has {len(ids)} tokens and must have fewer than the session "
                f"length, {self.session_len}"
            )
            raise Refused(400, message, "context_length_exceeded")
        return ids

    def decode(self, ids: list[int]) -> str:
        """Text of a reply, special tokens left out."""
        return self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def tokens(self, job: Job) -> Iterator[int]:
        """Greedy tokens up to the limit, an end token (not yielded), or a cancel."""
        import torch

        step, past = torch.tensor([job.prompt], device=self.model.device), None
        for _ in range(job.limit):
            if job.cancelled.is_set() or self.stopping.is_set():
                return
            with torch.inference_mode():
                out = self.model(
                    input_ids=step, past_key_values=past, use_cache=True, logits_to_keep=1
                )
                step, past = out.logits[:, -1].argmax(dim=-1, keepdim=True), out.past_key_values
            token = int(step)
            if token in self.ends:
                return
            yield token

    def work(self) -> None:
        """Answer jobs one after the other until the server stops."""
        while (job := self.jobs.get()) is not None:
            ids: list[int] = []
            try:
                for piece in pieces(self.tokens(job), self.decode, ids):
                    job.emit(piece, None)
                self.generated += len(ids)
                job.emit("", End("length" if len(ids) == job.limit else "stop", len(ids)))
            except Exception as error:
                print(f"decoding failed: {type(error).__name__}: {error}", flush=True)
                job.emit("", End("error", len(ids)))

    def close(self) -> None:
        """End the thread, in the middle of a reply if need be."""
        self.stopping.set()
        self.jobs.put(None)
        self.thread.join(timeout=5)


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
    try:
        end = None
        while end is None:
            try:
                text, end = await asyncio.wait_for(received.get(), timeout=1)
            except TimeoutError:
                if await gone():
                    return
                continue
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
                f"{json.dumps(error_body(500, 'decoding failed; see the log of the server', 'internal_error'))}\n\n"
            )
        else:
            yield event(
                model_name, number, [{"index": 0, "delta": {}, "finish_reason": end.reason}]
            )
            if include_usage:
                yield event(model_name, number, [], usage=usage(prompt, end.tokens))
    yield "data: [DONE]\n\n"


def error_body(status: int, message: str, code: str) -> dict[str, Any]:
    """The error object of the OpenAI API."""
    return {
        "error": {"message": message, "type": code, "param": None, "code": code, "status": status}
    }


class RequireKey:
    """ASGI middleware: every path but /health needs the key as a bearer token."""

    def __init__(self, app: Any, key: str) -> None:
        self.app = app
        self.digest = hashlib.sha256(key.encode()).digest()

    def known(self, headers: Mapping[bytes, bytes]) -> bool:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(
            hashlib.sha256(token).digest(), self.digest
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.responses import JSONResponse

        if (
            scope["type"] == "http"
            and scope["path"] != "/health"
            and not self.known(dict(scope["headers"]))
        ):
            refusal = JSONResponse(
                error_body(401, "wrong or missing API key", "unauthorized"), status_code=401
            )
            return await refusal(scope, receive, send)
        return await self.app(scope, receive, send)


def build_app(decoder: Decoder, model_name: str, key: str) -> Any:
    """The FastAPI application."""
    import itertools

    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(RequireKey, key=key)
    numbers = itertools.count(1)

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
        try:
            body = json.loads(await request.body())
        except ValueError as error:
            raise Refused(400, f"the body is not JSON: {error}") from error
        asked = read_request(body, model_name)
        prompt = await asyncio.to_thread(decoder.encode, asked.messages)
        room = decoder.session_len - len(prompt)
        parts = reply(decoder, prompt, min(asked.max_tokens or room, room), request.is_disconnected)
        number = next(numbers)
        if asked.stream:
            events = stream(parts, model_name, number, prompt, asked.include_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        return JSONResponse(await whole(parts, model_name, number, prompt))

    return app


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


def listen(port: int, port_file: Path) -> socket.socket:
    """A listening socket on a loopback port, a free one for 0, whose number is in `port_file`
    afterwards (renamed, so it is whole).
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    temporary = port_file.with_name(port_file.name + ".partial")
    temporary.write_text(str(listener.getsockname()[1]), encoding="ascii")
    os.replace(temporary, port_file)
    return listener


def parse_args() -> argparse.Namespace:
    """Command line; the key is not on it, since everybody on the machine can read a command
    line.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--session-len", required=True, type=int)
    parser.add_argument("--device", required=True, choices=("cpu", "gpu"))
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--port-file", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    import uvicorn

    args = parse_args()
    key = Path(os.environ[KEY_VARIABLE]).read_text(encoding="ascii").strip()
    decoder = Decoder(args.model, args.device, args.threads, args.session_len)
    listener = listen(args.port, args.port_file)
    print(f"serving {args.model_name} on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        build_app(decoder, args.model_name, key), access_log=False, timeout_graceful_shutdown=2
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        decoder.close()


if __name__ == "__main__":
    raise SystemExit(run(main))
