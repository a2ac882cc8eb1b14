"""Third proof of a merge: training and serving read a dialogue as the same token ids.

ms-swift's template (training), the folder's chat template (serving) and mindtune.chat_template must
agree on fixed chats in Chinese and English, with and without system prompt, of one and of several
turns, and on the given dialogues.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.chat_template import load_chat
from mindtune.cli import UserError
from mindtune.safe_loading import load_tokenizer, swift_template

SYSTEM = {
    "zh": "你是一位温和、专业的心理咨询师。",
    "en": "You are a warm, professional counsellor.",
}
TURNS = {
    "zh": [
        "我最近总是睡不着，脑子停不下来。",
        "听起来这段时间很不容易。是从什么时候开始的？",
        "大概两周前，换了工作以后。\n\n我该怎么办？",
        "我们先从一件小事开始。",
    ],
    "en": [
        "I can't sleep, my mind won't stop.",
        "That sounds exhausting. When did it start?",
        "Two weeks ago -- after the new job.\n\nWhat can I do?",
        "Let's begin with one small thing.",
    ],
}


def fixed_chats() -> dict[str, list[dict[str, str]]]:
    """Chats of two languages, with and without system prompt, one and several turns; all end in a
    counsellor's turn.
    """
    chats = {}
    for language, turns in TURNS.items():
        dialogue = [
            {"role": ("user", "assistant")[place % 2], "content": text}
            for place, text in enumerate(turns)
        ]
        for name, head in (
            ("system", [{"role": "system", "content": SYSTEM[language]}]),
            ("no system", []),
        ):
            chats[f"{language}, {name}, one turn"] = head + dialogue[:2]
            chats[f"{language}, {name}, two turns"] = head + dialogue
    return chats


def digest(ids: Sequence[int]) -> str:
    """SHA-256 of token ids, written in decimal with spaces between."""
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()


def prove_prompts(
    merged: Path, chats: Mapping[str, list[dict[str, str]]], model: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Compare the token ids of ms-swift's template, of transformers' and of ours; return counts
    and hashes.

    A chat is a whole dialogue; its prompt is all but the last turn. A difference is a UserError
    that shows where they part.
    """
    trainer = swift_template(merged, model)
    tokenizer, chat = load_tokenizer(merged), load_chat(merged)
    rows = []
    for name, messages in chats.items():
        row: dict[str, Any] = {"chat": name}
        for kind, mode, part in (
            ("prompt", "transformers", messages[:-1]),
            ("dialogue", "train", messages),
        ):
            trainer.set_mode(mode)
            trained = list(
                trainer.encode({"messages": [dict(message) for message in part]})["input_ids"]
            )
            ask = kind == "prompt"
            ours = chat.render(part, ask)  # in bounds, and first: transformers has none
            text = tokenizer.apply_chat_template(part, tokenize=False, add_generation_prompt=ask)
            for reader, served in (
                ("the chat template", tokenizer(text, add_special_tokens=False)["input_ids"]),
                ("mindtune.chat_template", chat.encode([ours])[0]),
            ):
                if trained != served:
                    raise UserError(
                        f"{name}, {kind}: {describe_difference(tokenizer, trained, served, reader)}"
                    )
            row[kind] = {"tokens": len(trained), "sha256": digest(trained)}
        rows.append(row)
    return rows


def describe_difference(
    tokenizer: Any, trained: Sequence[int], served: Sequence[int], reader: str
) -> str:
    """Where two renderings part, with a little text around."""
    place = next(
        (i for i, (a, b) in enumerate(zip(trained, served, strict=False)) if a != b),
        min(len(trained), len(served)),
    )
    left, right = (
        tokenizer.decode(ids[max(0, place - 8) : place + 8]) for ids in (trained, served)
    )
    return (
        f"ms-swift's template gives {len(trained)} tokens and {reader} {len(served)}; they part at "
        f"token {place} "
        f"({left!r} and {right!r}); choose the template in model.template that belongs to this "
        f"model"
    )
