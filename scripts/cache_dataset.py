"""Tokenise a data set's training and dev dialogues once for all its runs, on a CPU, with the
trainer's own template; order_dialogues.py puts them into a run's order.

Reads   the train and dev splits, and the tokenizer folder
Writes  train/ and val/ as `swift export --to_cached_dataset` makes them, with two columns more,
        token_ids and token_labels, so
        that the trainer need not tokenise while a GPU waits; lengths.parquet beside them (one row
        a dialogue: id, split, source file, tokens, trained_tokens, sha256 of
        ids and labels), and the stage's record
"""

import argparse
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, parser, run, settings
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import partial_folder, read_jsonl, remove, write_record
from mindtune.safe_loading import swift_export, swift_template
from mindtune.train.cached import save_split
from mindtune.train.swift import data_flags, environment, render
from mindtune.variables import caches


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
        columns["token_labels"].append(encoded["labels"])
        if len(encoded["input_ids"]) != max(row["lengths"]):
            raise UserError(
                f"{cached} gives dialogue {row['id']} {max(row['lengths'])} tokens and ms-swift's "
                f"template {len(encoded['input_ids'])}; "
                "the cache and the template differ, so delete the cache and run again"
            )
    return columns


def add_tokens(source: Path, target: Path, columns: Mapping[str, list[Any]]) -> None:
    """Write the cached split `source` to `target` with the token columns added."""
    import numpy
    from datasets import load_from_disk

    split = load_from_disk(str(source))
    for name in ("token_ids", "token_labels"):
        split = split.add_column(
            name, [numpy.asarray(row, dtype=numpy.int32) for row in columns[name]]
        )
    save_split(split, target)


def count(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns id, tokens, trained_tokens and sha256 (of a dialogue's ids and labels)."""
    pairs = list(zip(columns["token_ids"], columns["token_labels"], strict=True))
    return {
        "id": columns["id"],
        "tokens": [len(ids) for ids, _ in pairs],
        "trained_tokens": [sum(label != -100 for label in labels) for _, labels in pairs],
        "sha256": [hashlib.sha256(json.dumps(pair).encode()).hexdigest() for pair in pairs],
    }


def cache(args: argparse.Namespace, target: Path) -> None:
    """Let ms-swift cache both splits, in this process: starting it costs more than the work."""
    from datasets.utils._filelock import FileLock

    # its locks are named by whole paths, which it cuts at 255 characters where a file's name has
    # room for 255 bytes; a character takes up to four
    FileLock.MAX_FILENAME_LENGTH = 255 // 4
    # its cache of the data set would stay in the user's home: a copy of every dialogue
    os.environ.update(
        environment(CUDA_VISIBLE_DEVICES="", **caches(target.absolute().with_name("cache")))
    )
    flags = data_flags(args.model, args.settings) | {
        "dataset_shuffle": False,
        "model": str(args.tokenizer),
        "dataset": [str(args.train)],
        "val_dataset": [str(args.dev)],
        # keeps each row's id, by which a pack can be traced back to its dialogues
        "remove_unused_columns": False,
        "to_cached_dataset": True,
        "output_dir": str(target),
    }
    swift_export(args.tokenizer, render(flags))


def sources(columns: Mapping[str, list[Any]], dialogues: Path) -> list[str]:
    """The source file of each cached row, after a check that every dialogue of the split arrived,
    once.
    """
    source_of = {row["id"]: row["source"].rpartition("#")[0] for row in read_jsonl(dialogues)}
    if sorted(columns["id"]) != sorted(source_of):
        raise UserError(
            f"{dialogues} has {len(source_of)} dialogues and ms-swift kept {len(columns['id'])}; "
            f"the cleaning stage must reject what it drops"
        )
    return [source_of[name] for name in columns["id"]]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--train", required=True, type=Path)
    arguments.add_argument("--dev", required=True, type=Path)
    arguments.add_argument("--tokenizer", required=True, type=Path)
    add_made_by(arguments)
    arguments.add_argument("--model", required=True, type=settings("type", "template"))
    arguments.add_argument("--settings", required=True, type=settings("max_length"))
    arguments.add_argument("--cached", required=True, type=Path)
    arguments.add_argument("--record", required=True, type=Path)
    args = arguments.parse_args()

    inputs = hash_inputs([args.train, args.dev, args.tokenizer], args.made_by)
    import pandas

    tables = []
    with partial_folder(args.cached) as folder:
        cache(args, folder / "swift")
        for split, name, dialogues in (("train", "train", args.train), ("dev", "val", args.dev)):
            columns = encode(
                folder / "swift" / name, args.tokenizer, args.model, args.settings["max_length"]
            )
            files = sources(columns, dialogues)
            add_tokens(folder / "swift" / name, folder / name, columns)
            tables.append(pandas.DataFrame({"split": split, "source": files, **count(columns)}))
        remove(folder / "swift")
        remove(folder / "cache")
        lengths = pandas.concat(tables, ignore_index=True)
        lengths.to_parquet(folder / "lengths.parquet", index=False)
    facts = {}
    for split, part in lengths.groupby("split"):
        facts[str(split)] = {
            "rows": len(part), "tokens": int(part.tokens.sum()), "trained_tokens": int(part.trained_tokens.sum())
        }  # fmt: skip
        if not facts[str(split)]["trained_tokens"]:
            raise UserError(
                f"the {split} split has no token to train on: no counsellor turn gets a label; "
                f"check model.template"
            )
    write_record(
        args.record,
        "cache_dataset",
        inputs=inputs,
        outputs=[args.cached],
        params={"model": args.model, **args.settings},
        facts=facts,
        packages=["ms-swift", "transformers", "tokenizers", "datasets"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
