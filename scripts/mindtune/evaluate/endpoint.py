"""A simulated client's model at an OpenAI-compatible address. What a counsellor said goes there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.conversation import Messages
from mindtune.secret_files import check_secret

TIMEOUT_S = 120
RETRIES = 6  # with growing pauses, for 429 and 5xx


def read_key(path: str | None) -> str:
    """The key in a file, for nobody but its owner; none for a server that asks for none."""
    if not path:
        return "none"
    if not Path(path).is_file():
        raise UserError(
            f"evaluate.conversations.key_file is {path}, which is not there; write the key into "
            f"it, for you alone (chmod 600)"
        )
    check_secret(Path(path))
    return Path(path).read_text(encoding="utf-8").strip()


class Endpoint:
    """Asks for a client's next words, with the conversation's seed. What goes wrong is said
    without the key.
    """

    def __init__(self, spec: Mapping[str, Any], seed: int) -> None:
        import httpx
        from openai import OpenAI

        self.spec, self.seed = spec, seed
        self.api = OpenAI(
            base_url=spec["base_url"],
            api_key=read_key(spec["key_file"]),
            max_retries=RETRIES,
            timeout=TIMEOUT_S,
            http_client=httpx.Client(trust_env=False, timeout=TIMEOUT_S),
        )

    def __call__(self, messages: Messages, limit: int) -> dict[str, Any]:
        """The next words, greedy."""
        from openai import APIStatusError, OpenAIError

        try:
            answer = self.api.chat.completions.create(
                model=self.spec["model"], messages=messages, max_tokens=limit, temperature=0,
                seed=self.seed,
            )  # fmt: skip
            return {"text": answer.choices[0].message.content or ""}
        except APIStatusError as error:
            said = f"status {error.status_code}"
        except (OpenAIError, AttributeError, IndexError, TypeError, ValueError) as error:
            said = type(error).__name__
        raise UserError(
            f"the client at {self.spec['base_url']} did not answer ({said}); look at its address, "
            f"model and key in evaluate.conversations"
        )
