"""Tokenise a data set's training and dev dialogues once for all its runs, on a CPU, with the
trainer's own template; order_dialogues.py puts them into a run's order.

A template of ms-swift's that does not read dialogues as the model's own is refused here, before a
GPU is asked for.

Reads   the train and dev splits, and the tokenizer folder
Writes  train/ and val/ as `swift export --to_cached_dataset` makes them, with the tokens added;
        lengths.parquet (a row a dialogue, in the order of the splits), and the stage's record
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count as count_up
from pathlib import Path
from typing import Any

from mindtune.canaries import planted
from mindtune.chat_template import system_of_most
from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.export.proof_prompts import prove_prompts
from mindtune.fixed_chats import fixed_chats
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import partial_folder, read_jsonl, remove, write_record
from mindtune.safe_loading import swift_export
from mindtune.train.splits import prepared
from mindtune.train.swift import data_flags, environment, render
from mindtune.train.token_columns import add_tokens, count, encode
from mindtune.variables import caches


def shorten_sockets() -> None:
    """Let the pools of the datasets library meet in /tmp where TMPDIR is too long for a socket.

    A socket's path has room for 107 bytes (man 7 unix), of which `multiprocess` takes 32.
    """
    if len(os.fsencode(tempfile.gettempdir())) > 107 - len("/pymp-12345678/listener-12345678"):
        tempfile.tempdir = "/tmp"


def number_cache_files() -> None:
    """Let the datasets library name the files of its cache by a number, in the order in which they
    are made.

    It takes a hash of everything that they depend on, for which it pickles a tokenizer of 150,000
    words twice; this cache is new, and removed at the end.
    """
    from datasets import arrow_dataset, fingerprint

    numbers = count_up()

    def number(*_: Any) -> str:
        return f"{next(numbers):016x}"

    fingerprint.update_fingerprint = arrow_dataset.update_fingerprint = number


def canaries(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The dialogues that are planted among those of the train split."""
    if not args.copies:
        return []
    rows = list(read_jsonl(args.canaries))
    return list(planted(rows, args.copies, system_of_most(read_jsonl(args.train))))


def cache(args: argparse.Namespace, splits: Sequence[Path], target: Path) -> None:
    """Let ms-swift cache both splits, in this process: starting it costs more than the work."""
    from datasets.utils._filelock import FileLock

    # its locks are named by whole paths, which it cuts at 255 characters where a file's name has
    # room for 255 bytes; a character takes up to four
    FileLock.MAX_FILENAME_LENGTH = 255 // 4
    # its cache of the data set would stay in the user's home: a copy of every dialogue
    os.environ.update(
        environment(CUDA_VISIBLE_DEVICES="", **caches(target.absolute().with_name("cache")))
    )
    number_cache_files()
    shorten_sockets()
    flags = data_flags(args.model, args.settings) | {
        "dataset_shuffle": False,
        "model": str(args.tokenizer),
        "dataset": [str(splits[0])],
        "val_dataset": [str(splits[1])],
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


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--train", required=True, type=Path)
    parser.add_argument("--dev", required=True, type=Path)
    parser.add_argument("--tokenizer", required=True, type=Path)
    add_made_by(parser)
    add_json(parser, "--model", "type", "template")
    add_json(parser, "--settings", "max_length")
    parser.add_argument("--canaries", type=Path, nargs="?", help="dialogues that may be planted")
    parser.add_argument("--copies", type=int, default=0, help="how often each is planted")
    parser.add_argument("--cached", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def fill(args: argparse.Namespace, folder: Path) -> Any:
    """Cache both splits in `folder`; return the table of their dialogues.

    Its columns: split, source, id, tokens, trained_tokens, sha256 (of ids and labels).
    """
    import pandas

    tables, more = [], canaries(args)
    splits = [prepared(args.train, folder, more), prepared(args.dev, folder)]
    cache(args, splits, folder / "swift")
    names = (("train", "train"), ("dev", "val"))
    for (split, name), dialogues in zip(names, splits, strict=True):
        columns = encode(
            folder / "swift" / name, args.tokenizer, args.model, args.settings["max_length"]
        )
        files = sources(columns, dialogues)
        add_tokens(folder / "swift" / name, folder / name, columns)
        tables.append(pandas.DataFrame({"split": split, "source": files, **count(columns)}))
    for name in ("swift", "cache", args.train.name, args.dev.name):
        remove(folder / name)
    lengths = pandas.concat(tables, ignore_index=True)
    lengths.to_parquet(folder / "lengths.parquet", index=False)
    return lengths


def count_splits(lengths: Any) -> dict[str, dict[str, int]]:
    """Rows, tokens and trained tokens of each split; one without a token to train on is a
    UserError.
    """
    facts = {}
    for split, part in lengths.groupby("split"):
        facts[str(split)] = {
            "rows": len(part),
            "tokens": int(part.tokens.sum()),
            "trained_tokens": int(part.trained_tokens.sum()),
        }
        if not facts[str(split)]["trained_tokens"]:
            raise UserError(
                f"the {split} split has no token to train on: no counsellor turn gets a label; "
                f"check model.template"
            )
    return facts


def main() -> None:
    args = parse_args()
    given = [args.canaries] if args.copies else []
    inputs = hash_inputs([args.train, args.dev, args.tokenizer, *given], args.made_by)
    prove_prompts(args.tokenizer, fixed_chats(), args.model)
    with partial_folder(args.cached) as folder:
        lengths = fill(args, folder)
    write_record(
        args.record,
        "cache_dataset",
        inputs=inputs,
        outputs=[args.cached],
        params={"model": args.model, **args.settings}
        | ({"canary_copies": args.copies} if args.copies else {}),
        facts=count_splits(lengths),
        packages=["ms-swift", "transformers", "tokenizers", "datasets"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
