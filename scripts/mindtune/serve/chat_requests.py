"""What a chat request may say: every field is checked, and what this server would not do exactly as
asked is refused with the reason.
"""

import json
from dataclasses import dataclass
from typing import Any

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


def parse(content: bytes) -> Any:
    """A body as JSON; Refused if it is none, or nests deeper than Python's parser goes."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise Refused(400, "the body is JSON that nests too deeply") from error


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
    check_greedy_fields(body)
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


def check_greedy_fields(body: dict[str, Any]) -> None:
    """Refuse what would not be greedy decoding."""
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
