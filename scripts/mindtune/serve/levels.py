"""The speeds of a served export at several numbers of requests at once."""

from collections.abc import Sequence
from typing import Any

from mindtune.serve.checks import Case, user
from mindtune.serve.client import GREEDY, GREEDY_EXTRA
from mindtune.serve.load import Target, load, speeds


def measure(case: Case, levels: Sequence[int]) -> dict[str, Any]:
    """Speeds at each number of requests at once: two rounds of them, at least each prompt once."""
    body = {
        "model": case.server.model_name,
        "max_tokens": case.max_tokens,
        **GREEDY,
        **GREEDY_EXTRA,
    }
    target = Target(case.server.port, case.server.api_key, body, stream=True)
    rows = {}
    for level in levels:
        prompts = [
            case.prompts[number % len(case.prompts)]
            for number in range(max(2 * level, len(case.prompts)))
        ]
        rows[f"concurrency_{level}"] = speeds(
            load(target, [user(prompt) for prompt in prompts], level)
        )
    return rows
