"""One request to a judge, through inspect-ai's model layer: what its server says is an answer, a
reason to wait, a failure of this one request, or a reason to stop.
"""

import asyncio
import email.utils
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mindtune.cli import UserError
from mindtune.evaluate.judge_prompts import Messages

LOOPBACK = ("localhost", "127.0.0.1", "::1")
REFUSED_REASONS = ("content_filter", "model_length")
LONGEST_WAIT_S = 30.0


class Answer(NamedTuple):
    """What a judge wrote; `failure` is "" or refused."""

    raw: str
    failure: str
    read: int
    written: int


class Busy(Exception):
    """The server asks to wait, or is not there; nothing was answered. `wait_s` is what it asks for
    (0: nothing said).
    """

    def __init__(self, said: str, wait_s: float, unpaid: bool) -> None:
        super().__init__(said)
        self.wait_s, self.unpaid = wait_s, unpaid


class Slow(Exception):
    """No answer within the time."""


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    return urlsplit(url).hostname in LOOPBACK


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for; 0 without one."""
    said = headers.get("retry-after", "")
    if said.replace(".", "", 1).isdigit():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


class Judge:
    """A judge at an OpenAI-compatible address. `timeout_s` is for one request."""

    def __init__(self, name: str, model: str, base_url: str, key: str, **limits: int) -> None:
        import certifi
        from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model
        from openai import DefaultAsyncHttpxClient

        self.name, self.base_url, self.key = name, base_url, key
        self.timeout_s = limits["timeout_s"]
        self.kinds = {"system": ChatMessageSystem, "user": ChatMessageUser}
        self.config = GenerateConfig(temperature=0, max_tokens=limits["max_tokens"])
        # the provider itself: retries, caches and transcripts of inspect-ai's tasks are not ours,
        # and take a third of the time
        self.provider = get_model(
            f"openai-api/judge/{model}",
            base_url=base_url,
            api_key=key,
            memoize=False,
            # a proxy is for the way out, never for this machine
            http_client=DefaultAsyncHttpxClient(
                trust_env=not is_loopback(base_url),
                verify=ssl.create_default_context(
                    cafile=os.environ.get("SSL_CERT_FILE") or certifi.where()
                ),
            ),
            max_retries=0,
        ).api

    async def ask(self, messages: Messages, key: str) -> Answer:
        """One request. `key` goes with it, so that a server that knows such keys bills a repeat
        once.
        """
        said = [self.kinds[message["role"]](content=message["content"]) for message in messages]
        config = self.config.model_copy(update={"extra_headers": {"Idempotency-Key": key}})
        try:
            found = await asyncio.wait_for(
                self.provider.generate(said, [], "none", config), self.timeout_s
            )
            output = found[0] if isinstance(found, tuple) else found
            if isinstance(output, Exception):
                raise output
        except TimeoutError:
            raise Slow from None
        except Exception as error:
            raise self.meaning(error) from None
        if output.stop_reason in REFUSED_REASONS:
            return Answer("", "refused", 0, 0)
        usage = output.usage
        return Answer(
            output.completion,
            "",
            usage.input_tokens if usage else 0,
            usage.output_tokens if usage else 0,
        )

    def without_key(self, text: str) -> str:
        """What a server or a library says, without the key in it, in one line."""
        return " ".join(text.replace(self.key, "***").split())[:300]

    def stop(self, what: str, remedy: str) -> UserError:
        """Why no request to this judge can succeed."""
        return UserError(f"judge {self.name} at {self.base_url}: {what}; {remedy}, then run again")

    def meaning(self, error: Exception) -> Exception:
        """What an error of a request means: Busy, Slow, or a UserError that stops the run."""
        import openai

        for cause in causes(error):
            if isinstance(cause, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
                return self.stop(
                    f"its certificate was not accepted ({self.without_key(str(cause))})",
                    "correct base_url, or let SSL_CERT_FILE name the authority that signed it",
                )
            if isinstance(cause, openai.APITimeoutError):
                return Slow()
            if isinstance(cause, openai.APIStatusError):
                return self.status(cause)
        said = self.without_key(f"{type(error).__name__}: {error}")
        return Busy(said, 0.0, unpaid=isinstance(error, openai.APIConnectionError))

    def status(self, error: Any) -> Exception:
        """What an HTTP status means."""
        code, said = error.status_code, self.without_key(str(error.message))
        if code in (401, 403):
            return self.stop(
                f"it refuses the key ({code}: {said})",
                f"correct judge.models.{self.name}.key_file or the environment variable",
            )
        if code == 402:
            return self.stop(f"the account has no money left ({said})", "pay it in")
        if code in (404, 405):
            return self.stop(
                f"it knows no such model or path ({code}: {said})",
                f"correct judge.models.{self.name}.model or base_url",
            )
        if code in (408, 409, 425, 429) or code >= 500:
            return Busy(f"{code}: {said}", retry_after(error.response.headers), unpaid=code < 500)
        return Refused(said)


class Refused(Exception):
    """The server will not answer this one request (400, 413, 422)."""
