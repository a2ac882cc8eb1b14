"""Counsellor turns of held-out dialogues as prompts, each with the true history before it.

For counsellor turn k of a dialogue the prompt is all that was said before it, as it was said, and
the reference is the turn itself; so a poor reply cannot spoil later prompts.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mindtune.chat_template import to_messages
from mindtune.cli import UserError
from mindtune.records import read_jsonl

SPEAKERS = {"求助者": "human", "支持者": "gpt"}


def choose_dialogues(
    rows: Sequence[dict[str, Any]], limit: int | None, seed: int
) -> list[dict[str, Any]]:
    """At most `limit` rows, in their order: those whose ids, hashed with the seed, come first."""
    if limit is None or limit >= len(rows):
        return list(rows)
    ranked = sorted(
        rows, key=lambda row: hashlib.sha256(f"{seed}\0{row['id']}".encode()).hexdigest()
    )
    chosen = {row["id"] for row in ranked[:limit]}
    return [row for row in rows if row["id"] in chosen]


def choose_turns(count: int, limit: int | None) -> list[int]:
    """At most `limit` of the turns 0..count-1, evenly spaced, the last one always among them."""
    if limit is None or limit >= count:
        return list(range(count))
    return [-(-(step + 1) * count // limit) - 1 for step in range(limit)]


def dialogue_prompts(
    row: dict[str, Any], limit: int | None, system: str | None
) -> list[dict[str, Any]]:
    """The prompts of one dialogue, rows of the prompts file. `system` is used where the dialogue
    has no system turn of its own.
    """
    messages = to_messages(row["conversations"])
    if system is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    replies = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    for place in replies:
        if place == 0 or messages[place - 1]["role"] != "user":
            raise UserError(
                f"dialogue {row['id']}: turn {place} answers no client turn; clean the data with "
                f"clean_dialogues.py"
            )
    return [
        {
            "id": f"{row['id']}#{turn}",
            "dialogue": row["id"],
            "turn": turn,
            "prompt": messages[: replies[turn]],
            "reference": messages[replies[turn]]["content"],
        }
        for turn in choose_turns(len(replies), limit)
    ]


def clean_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of clean dialogues."""
    return list(read_jsonl(path))


def cpsycoune_rows(folder: Path) -> list[dict[str, Any]]:
    """CPsyCounE's folder: TOPIC/NUMBER.json, each a list of turns 求助者：... and 支持者：..."""
    rows = []
    for path in sorted(folder.rglob("*.json")):
        try:
            turns = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is no JSON ({error}); give the data as published") from None
        if not isinstance(turns, list):
            raise UserError(f"{path} is no list of turns; give the data as published")
        name = path.relative_to(folder).with_suffix("").as_posix()
        rows.append({"id": name, "conversations": labelled_turns(turns, path)})
    return rows


def labelled_turns(turns: Iterable[Any], path: Path) -> list[dict[str, str]]:
    """ShareGPT turns of texts that begin with their speaker."""
    found = []
    for number, turn in enumerate(turns, 1):
        label, colon, text = str(turn).partition("：")
        if label not in SPEAKERS or not colon or not text.strip():
            raise UserError(
                f"{path} turn {number} is {str(turn)[:20]!r}; expected text after "
                f"{' or '.join(f'{label}：' for label in SPEAKERS)}; give the data as published"
            )
        found.append({"from": SPEAKERS[label], "value": text.strip()})
    return found


DIALOGUE_FORMS = {"dialogues": clean_rows, "cpsycoune": cpsycoune_rows}


def read_dialogue_prompts(
    path: Path, form: str, settings: dict[str, Any], system: str | None
) -> list[dict[str, Any]]:
    """All prompts of dialogues in one of DIALOGUE_FORMS, in their order."""
    rows = DIALOGUE_FORMS[form](path)
    chosen = choose_dialogues(rows, settings["max_dialogues"], settings["seed"])
    limit = settings["max_turns_per_dialogue"]
    prompts = [prompt for row in chosen for prompt in dialogue_prompts(row, limit, system)]
    if not prompts:
        raise UserError(
            f"{path} holds no counsellor turn to answer ({len(rows)} dialogues read); raise the "
            f"share of test data"
        )
    return prompts
