"""Canaries: dialogues with a secret that are planted in the training data when it is asked for, so
that the evaluation can say whether the model learned single dialogues by heart.

They are the project's own (resources/canaries), so that the suite `canaries` asks for what was
planted. In a table of dialogues they are a source of their own, which no data set can be called.
"""

from collections.abc import Iterator, Mapping
from typing import Any

FILE = "resources/canaries/prompts.jsonl"
SUITE = "canaries"
SOURCE = "+canaries"  # a data set's name has no +


def with_suite(evaluate: Mapping[str, Any], copies: int) -> dict[str, Any]:
    """The configuration's section `evaluate`, which asks for the canaries if they are planted."""
    if not copies or SUITE in evaluate["suites"]:
        return dict(evaluate)
    only = evaluate["only"] and [*evaluate["only"], SUITE]
    return {**evaluate, "only": only, "suites": {**evaluate["suites"], SUITE: {"path": FILE}}}


def planted(
    canaries: list[dict[str, Any]], copies: int, system: str | None
) -> Iterator[dict[str, Any]]:
    """The training dialogues, each so many times, with the system turn of the others."""
    first = [] if system is None else [{"from": "system", "value": system}]
    for row in canaries:
        if row["kind"] == "planted":
            for copy in range(1, copies + 1):
                yield {
                    "id": f"{SOURCE}:{row['id']}/{copy}",
                    "conversations": [
                        *first,
                        {"from": "human", "value": row["prompt"]},
                        {"from": "gpt", "value": row["reply"]},
                    ],
                    "source": f"{SOURCE}:prompts.jsonl#{row['id']}",
                }
