"""The system prompt that a model was trained with."""

from collections import Counter
from pathlib import Path

from mindtune.records import read_jsonl


def training_system(train: Path) -> str | None:
    """The system turn of most training dialogues; None if most have none, which the chat template
    then fills as it did in the training.
    """
    turns: Counter[str | None] = Counter()
    for row in read_jsonl(train):
        first = row["conversations"][0]
        turns[first["value"] if first["from"] == "system" else None] += 1
    return max(turns, key=lambda text: (turns[text], text or "")) if turns else None
