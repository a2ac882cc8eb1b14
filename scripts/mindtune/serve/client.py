"""A thin client of a chat server: greedy, without retries, past any proxy, usable from several
threads at once.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Named one by one, since LMDeploy takes whatever a request leaves out from the model's
# generation_config.json, and Qwen2.5's sets a repetition penalty of 1.05
GREEDY = {"temperature": 0, "top_p": 1}
GREEDY_EXTRA = {"top_k": 1, "repetition_penalty": 1.0}

KEEP_ALIVE_S = 1.0

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Reply:
    """A reply. `finish_reason` is stop or length; the end token is not counted in
    `completion_tokens`.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class StreamedReply:
    """A reply as its pieces, with the seconds from the request to each of them."""

    reply: Reply
    pieces: list[str]
    seconds: list[float]


class Client:
    """Chat with one model of one server."""

    def __init__(self, base_url: str, api_key: str, model_name: str, timeout: float) -> None:
        import httpx
        from openai import OpenAI

        # uvicorn closes what was idle for 5 s, perhaps as it is used again
        limits = httpx.Limits(max_keepalive_connections=256, keepalive_expiry=KEEP_ALIVE_S)
        http = httpx.Client(trust_env=False, limits=limits, timeout=timeout)
        self.api = OpenAI(
            base_url=base_url, api_key=api_key, max_retries=0, http_client=http, timeout=timeout
        )
        self.model_name = model_name

    def ask(self, messages: Messages, max_tokens: int, **options: Any) -> Any:
        """One request with greedy settings, answered as the `openai` package answers it."""
        return self.api.chat.completions.create(
            model=self.model_name,
            messages=messages,
            max_tokens=max_tokens,
            extra_body=GREEDY_EXTRA,
            **GREEDY,
            **options,
        )

    def chat(self, messages: Messages, max_tokens: int) -> Reply:
        """One whole reply of at most `max_tokens` tokens."""
        answer = self.ask(messages, max_tokens)
        choice = answer.choices[0]
        return Reply(
            choice.message.content or "",
            choice.finish_reason,
            answer.usage.prompt_tokens,
            answer.usage.completion_tokens,
        )

    def stream(self, messages: Messages, max_tokens: int) -> StreamedReply:
        """One streamed reply of at most `max_tokens` tokens, read to its end."""
        start = time.perf_counter()
        pieces, seconds, finish, usage = [], [], None, None
        for chunk in self.chunks(messages, max_tokens):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                if choice.delta.content:
                    pieces.append(choice.delta.content)
                    seconds.append(time.perf_counter() - start)
        reply = Reply("".join(pieces), finish, usage.prompt_tokens, usage.completion_tokens)
        return StreamedReply(reply, pieces, seconds)

    def chunks(self, messages: Messages, max_tokens: int) -> Iterator[Any]:
        """The chunks of a streamed reply; closing the iterator hangs up."""
        with self.ask(
            messages, max_tokens, stream=True, stream_options={"include_usage": True}
        ) as stream:
            yield from stream

    def models(self) -> list[str]:
        """Names in the server's model list."""
        return [model.id for model in self.api.models.list().data]
