"""Tokenise a run's training and dev dialogues once, on a CPU, with the trainer's own template and in the trainer's own order.

Reads   the train and dev splits, and the tokenizer folder
Writes  train/ and val/ as `swift export --to_cached_dataset` makes them, lengths.parquet beside them (one row a dialogue, in
        training order: id, split, tokens, trained_tokens), and the stage's record
"""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, run
from mindtune.records import partial_folder, read_jsonl, write_record
from mindtune.swift import data_flags, environment, render


def count_tokens(cached: Path, tokenizer: Path, model: Mapping[str, Any], max_length: int) -> dict[str, list[Any]]:
    """Columns id, tokens, trained_tokens of a cached split, in its order; trained tokens are those with a label (assistant turns)."""
    from datasets import load_from_disk
    from swift.model import get_processor
    from swift.template import get_template

    template = get_template(
        get_processor(str(tokenizer), model_type=model["type"]),
        template_type=model["template"],
        max_length=max_length,
        truncation_strategy="raise",
    )
    template.set_mode("train")
    columns: dict[str, list[Any]] = {"id": [], "tokens": [], "trained_tokens": []}
    for row in load_from_disk(str(cached)):
        encoded = template.encode({"messages": row["messages"]}, return_length=True)
        columns["id"].append(row["id"])
        columns["tokens"].append(len(encoded["input_ids"]))
        columns["trained_tokens"].append(sum(label != -100 for label in encoded["labels"]))
        if columns["tokens"][-1] != max(row["lengths"]):
            raise UserError(
                f"{cached} gives dialogue {row['id']} {max(row['lengths'])} tokens and ms-swift's template {columns['tokens'][-1]}; "
                "the cache and the template differ, so delete the cache and run again"
            )
    return columns


def cache(args: argparse.Namespace, target: Path) -> None:
    """Let ms-swift cache both splits, in this process: starting it costs more than the work."""
    os.environ.update(environment(CUDA_VISIBLE_DEVICES=""))
    from swift.pipelines import export_main

    flags = data_flags(args.model, args.settings) | {
        "model": str(args.tokenizer),
        "dataset": [str(args.train)],
        "val_dataset": [str(args.dev)],
        # keeps each row's id, by which a pack can be traced back to its dialogues
        "remove_unused_columns": False,
        "to_cached_dataset": True,
        "output_dir": str(target),
    }
    export_main(render(flags))


def check_rows(columns: Mapping[str, list[Any]], dialogues: Path) -> None:
    """Every dialogue of a split arrived, once."""
    wanted = sorted(row["id"] for row in read_jsonl(dialogues))
    if sorted(columns["id"]) != wanted:
        raise UserError(
            f"{dialogues} has {len(wanted)} dialogues and ms-swift kept {len(columns['id'])}; the cleaning stage must reject what it drops"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, type=Path)
    parser.add_argument("--dev", required=True, type=Path)
    parser.add_argument("--tokenizer", required=True, type=Path)
    parser.add_argument("--model", required=True, type=json.loads, help='JSON: {"type", "template"}')
    parser.add_argument("--settings", required=True, type=json.loads, help='JSON: {"max_length", "seed"}')
    parser.add_argument("--cached", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args()

    import pandas

    tables = []
    with partial_folder(args.cached) as folder:
        cache(args, folder / "swift")
        for split, name, dialogues in (("train", "train", args.train), ("dev", "val", args.dev)):
            (folder / "swift" / name).rename(folder / name)
            columns = count_tokens(folder / name, args.tokenizer, args.model, args.settings["max_length"])
            check_rows(columns, dialogues)
            tables.append(pandas.DataFrame({"split": split, **columns}))
        (folder / "swift").rmdir()
        lengths = pandas.concat(tables, ignore_index=True)
        lengths.to_parquet(folder / "lengths.parquet", index=False)
    facts = {}
    for split, part in lengths.groupby("split"):
        facts[str(split)] = {
            "rows": len(part), "tokens": int(part.tokens.sum()), "trained_tokens": int(part.trained_tokens.sum())
        }  # fmt: skip
        if not facts[str(split)]["trained_tokens"]:
            raise UserError(
                f"the {split} split has no token to train on: no counsellor turn gets a label; check model.template"
            )
    write_record(
        args.record,
        "cache_dataset",
        inputs=[args.train, args.dev, args.tokenizer],
        outputs=[args.cached / "lengths.parquet"],
        params={"model": args.model, **args.settings},
        facts=facts,
        packages=["ms-swift", "transformers", "tokenizers", "datasets"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
