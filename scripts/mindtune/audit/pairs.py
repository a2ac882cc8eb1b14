"""Replies of both models to the same client beside the counsellor's own, drawn by a seed: nobody
has chosen them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import read_jsonl

PAIRS = 20


def rank(seed: int, identity: str) -> str:
    """Where a row stands in the seed's order of all rows."""
    return hashlib.sha256(f"{seed}\0{identity}".encode()).hexdigest()


def reply_pairs(
    base: Sequence[Path], tuned: Sequence[Path], seed: int, count: int = PAIRS
) -> list[Mapping[str, Any]]:
    """At most `count` rows {"dialogue", "id", "client", "base", "tuned", "reference"} of replies
    files, a pair of files a suite, in the seed's order; prompts that both have answered.
    """
    rows = []
    for ours, theirs in zip(base, tuned, strict=True):
        others = {row["id"]: row for row in read_jsonl(theirs)}
        for row in (row for row in read_jsonl(ours) if row["id"] in others):
            other = others[row["id"]]
            if row["prompt"] != other["prompt"]:
                raise UserError(
                    f"{ours} and {theirs} differ in the prompt of {row['id']}; generate both from "
                    "the same prompts"
                )
            rows.append(row | {"base": row["reply"], "tuned": other["reply"]})
    chosen = sorted(rows, key=lambda row: rank(seed, row["id"]))[:count]
    return [
        {key: row[key] for key in ("dialogue", "id", "base", "tuned", "reference")}
        | {"client": row["prompt"][-1]["content"]}
        for row in chosen
    ]
