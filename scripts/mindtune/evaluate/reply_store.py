"""Replies that a model gave already, kept while they come in: killed at any point, nothing is asked
twice.

state/replies/{base or runs/RUN}/.../{key}.jsonl   one line a reply. The key changes with the model,
the engine's settings and the code; a line's own key with the rendered prompt and the longest reply.
So a new suite, or an edit of one, asks only what was not asked before.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.records import to_json


def store_key(**parts: Any) -> str:
    """16 hex digits that change with anything that could change a reply to the same prompt."""
    return hashlib.sha256(to_json(parts).encode()).hexdigest()[:16]


def prompt_key(text: str, max_new_tokens: int) -> str:
    """Hash of what is asked: the rendered prompt and the longest reply in tokens."""
    return hashlib.sha256(f"{max_new_tokens}\0{text}".encode()).hexdigest()


class ReplyStore:
    """Kept replies {prompt key: reply}. `add` may be called from one thread only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.kept: dict[str, Mapping[str, Any]] = {}
        whole = 0
        content = path.read_bytes() if path.exists() else b""
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break  # torn: the process ended while it wrote
            try:
                row = json.loads(line)
                self.kept[row["key"]] = row["reply"]
            except (ValueError, KeyError, TypeError):
                break  # what follows a damaged line is asked again
            whole += len(line)
        if whole < len(content):
            os.truncate(path, whole)

    def add(self, key: str, reply: Mapping[str, Any]) -> None:
        """Keep a reply; it is in the file when this returns."""
        row = json.dumps({"key": key, "reply": dict(reply)}, ensure_ascii=False)
        with open(self.path, "ab") as stream:
            stream.write(row.encode() + b"\n")
        self.kept[key] = reply
