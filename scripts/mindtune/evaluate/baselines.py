"""Further replies of the base model, to read a difference against.

`again`     served once more and asked in the other order: what differs is the engine's noise
`prompted`  with a counselling system prompt: what words alone change, without any training

Their systems are called base_again and base_prompted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.tokens import is_chinese

BASELINES = ("base_again", "base_prompted")

Row = Mapping[str, Any]
Prompt = Sequence[Mapping[str, str]]


def language(row: Row) -> str:
    """Of a row of a prompts file: its own, or that of the counsellor's reply."""
    return row["lang"] if "lang" in row else "zh" if is_chinese(row["reference"]) else "en"


def without_system(prompt: Prompt) -> list[Mapping[str, str]]:
    """A prompt as it is for base and tuned, but for the system turn."""
    return [message for message in prompt if message["role"] != "system"]


def same_prompt(model: str, asked: Prompt, answered: Prompt) -> bool:
    """Whether a model's reply is to what the base was asked: every turn, but for the system turn of
    base_prompted, which is its own.
    """
    if model == "base_prompted":
        asked, answered = without_system(asked), without_system(answered)
    return list(asked) == list(answered)


def with_own_system(row: Row, texts: Mapping[str, str]) -> dict[str, Any]:
    """A row of a prompts file with the system turn of its language instead of its own."""
    turn = {"role": "system", "content": texts[language(row)]}
    return {**row, "prompt": [turn, *without_system(row["prompt"])]}


def baseline_paths(paths: Sequence[Path]) -> dict[str, Path]:
    """{system: replies file}; the file's folder has the baseline's name."""
    found = {f"base_{path.parent.name}": path for path in paths}
    if unknown := sorted(set(found) - set(BASELINES)):
        raise UserError(
            f"{found[unknown[0]]} lies in a folder that names no baseline; expected "
            f"{' or '.join(name.removeprefix('base_') for name in BASELINES)}"
        )
    return found
