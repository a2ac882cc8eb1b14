"""The tokens that the trainer takes instead of tokenising: columns of a cached split, and notes
that are the same wherever it was made.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import read_json, sha256_file, write_json
from mindtune.safe_loading import swift_template


def encode(
    cached: Path, tokenizer: Path, model: Mapping[str, Any], max_length: int
) -> dict[str, list[Any]]:
    """Columns id, token_ids, token_labels of a cached split, in its order; a label of -100 is not
    trained (client turns).
    """
    from datasets import load_from_disk

    template = swift_template(tokenizer, model, max_length=max_length, truncation_strategy="raise")
    template.set_mode("train")
    columns: dict[str, list[Any]] = {"id": [], "token_ids": [], "token_labels": []}
    for row in load_from_disk(str(cached)):
        encoded = template.encode({"messages": row["messages"]}, return_length=True)
        columns["id"].append(row["id"])
        columns["token_ids"].append(encoded["input_ids"])
        columns["token_labels"].append(learned_labels(encoded["labels"], row["messages"]))
        if len(encoded["input_ids"]) != max(row["lengths"]):
            raise UserError(
                f"{cached} gives dialogue {row['id']} {max(row['lengths'])} tokens and ms-swift's "
                f"template {len(encoded['input_ids'])}; "
                "the cache and the template differ, so delete the cache and run again"
            )
    return columns


def learned_labels(labels: list[int], messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """The labels of a dialogue, without those of the end of a last turn that is not learned.

    ms-swift 4.6.0 heeds `loss` in the text of a reply and not in what its template puts after the
    last one (swift/loss_scale/base.py: a suffix has no `loss`).
    """
    if messages[-1].get("loss") is not False:
        return labels
    end = len(labels)
    while end and labels[end - 1] != -100:
        end -= 1
    return labels[:end] + [-100] * (len(labels) - end)


def add_tokens(source: Path, target: Path, columns: Mapping[str, list[Any]]) -> None:
    """Write the cached split `source` to `target` with the token columns added."""
    import numpy
    from datasets import load_from_disk

    split = load_from_disk(str(source))
    for name in ("token_ids", "token_labels"):
        split = split.add_column(
            name, [numpy.asarray(row, dtype=numpy.int32) for row in columns[name]]
        )
    split.save_to_disk(str(target))
    same_notes(target)


def same_notes(split: Path) -> None:
    """Let the notes of a saved split be the same wherever it was made, so that the folder's hash
    is that of its rows.

    Of dataset_info.json the columns' types are left, without which the rows cannot be read; the
    rest names paths of this machine. The fingerprint, a random number here, is the hash of the
    rows.
    """
    info, state = read_json(split / "dataset_info.json"), read_json(split / "state.json")
    rows = "".join(sha256_file(split / file["filename"]) for file in state["_data_files"])
    write_json(split / "dataset_info.json", {"features": info["features"]})
    write_json(
        split / "state.json",
        state | {"_fingerprint": hashlib.sha256(rows.encode()).hexdigest()[:16]},
    )


def count(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns id, tokens, trained_tokens and sha256 (of a dialogue's ids and labels)."""
    pairs = list(zip(columns["token_ids"], columns["token_labels"], strict=True))
    return {
        "id": columns["id"],
        "tokens": [len(ids) for ids, _ in pairs],
        "trained_tokens": [sum(label != -100 for label in labels) for _, labels in pairs],
        "sha256": [hashlib.sha256(json.dumps(pair).encode()).hexdigest() for pair in pairs],
    }
