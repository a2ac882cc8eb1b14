"""What a suite asks a model: prompts as they are rendered, and what is left out of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mindtune.chat_template import ChatTokenizer
from mindtune.cli import UserError
from mindtune.evaluate.reply_store import prompt_key


@dataclass(frozen=True)
class Asked:
    """The prompts of one suite that fit into a session, with their texts, lengths in tokens and
    keys; `skipped` has a line for each of the others.
    """

    suite: str
    max_new_tokens: int
    rows: list[dict[str, Any]]
    texts: list[str]
    lengths: list[int]
    skipped: list[dict[str, Any]]

    def reply_keys(self) -> list[str]:
        """The store's key of each row."""
        return [prompt_key(text, self.max_new_tokens) for text in self.texts]


def sha256_prompts(rows: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> str:
    """Hash of ids and rendered prompts: equal for two models exactly if both were asked the same,
    byte for byte.
    """
    digest = hashlib.sha256()
    for row, text in zip(rows, texts, strict=True):
        digest.update(f"{row['id']}\0{text}\0".encode())
    return digest.hexdigest()


def prepared(
    suite: str, rows: Sequence[dict[str, Any]], chat: ChatTokenizer, limit: int, session_len: int
) -> Asked:
    """Render a suite's prompts and set those aside that leave no room for a reply of `limit`."""
    texts = [chat.render(row["prompt"], add_generation_prompt=True) for row in rows]
    lengths, room = chat.count(texts), session_len - limit
    fits = [place for place, length in enumerate(lengths) if length <= room]
    skipped = [
        {
            "id": row["id"],
            "reason": f"prompt of {length} tokens, over session_len - max_new_tokens = {room}",
        }
        for row, length in zip(rows, lengths, strict=True)
        if length > room
    ]
    if not fits:
        raise UserError(
            f"none of the {len(rows)} prompts of suite {suite} fits into {room} tokens; raise "
            f"session_len or lower its max_new_tokens"
        )
    chosen = ([part[place] for place in fits] for part in (rows, texts, lengths))
    return Asked(suite, limit, *chosen, skipped)


def to_row(row: Mapping[str, Any], reply: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the replies file: the prompt's row, and what was replied."""
    return {**row, "reply": reply["text"]} | {
        key: reply[key] for key in ("finish_reason", "prompt_tokens", "completion_tokens")
    }


def summarise(asked: Asked, replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts for the record. `lengths` are our own token counts of the prompts; the server's
    should be the same.
    """
    n = len(replies)
    return {
        "suite": asked.suite,
        "n": n,
        "empty": sum(not reply["text"].strip() for reply in replies),
        "truncated": sum(reply["finish_reason"] == "length" for reply in replies),
        "mean_prompt_tokens": round(sum(reply["prompt_tokens"] for reply in replies) / n, 2),
        "mean_completion_tokens": round(
            sum(reply["completion_tokens"] for reply in replies) / n, 2
        ),
        "prompts_counted_otherwise_by_server": sum(
            reply["prompt_tokens"] != length
            for reply, length in zip(replies, asked.lengths, strict=True)
        ),
        "skipped": asked.skipped,
        "skipped_n": len(asked.skipped),
        "prompts_sha256": sha256_prompts(asked.rows, asked.texts),
    }
