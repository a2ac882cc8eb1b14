"""Merge a LoRA adapter into its base and store the result in safetensors shards of a bounded size. Runs on the CPU.

The work is streamed: a tensor is mapped from the base's shard, merged, and written by a second thread, so memory holds a few
tensors, not a model. Nothing is known to be right until verify_merge.py has proven it.

Reads   the base model folder and the adapter folder
Writes  the merged model folder (weights, index, and the base's config, tokenizer and template files byte for byte) and the record
"""

import argparse
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, run
from mindtune.merging import (
    check_finite,
    copy_side_files,
    count_bytes,
    drop_tied_head,
    match_adapter,
    read_adapter,
    read_base,
    write_shards,
)
from mindtune.records import list_files, partial_folder, sha256_files, sha256_listing, write_hashed_record
from mindtune.shards import (
    DTYPES,
    in_model_order,
    parse_size,
    plan_shards,
    retyped,
    write_index,
)


def check_space(folder: Path, needed: int) -> None:
    """A UserError if the disk cannot take the merged weights."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{folder}: {free:,} bytes are free, the merged weights need {needed:,}; make room")


def merge(
    base: Path, adapter_folder: Path, folder: Path, settings: dict[str, Any]
) -> tuple[dict[str, str], dict[str, Any]]:
    """Fill `folder` with the merged model; return ({weight file: sha256}, facts)."""
    dtype, limit = settings["dtype"], parse_size(settings["max_shard_size"])
    if dtype not in DTYPES:
        raise UserError(f"dtype: {dtype!r} is not one of {', '.join(DTYPES)}")
    adapter = read_adapter(adapter_folder)
    config, tensors = read_base(base)
    tensors, left_out = drop_tied_head(config, tensors)
    match_adapter(adapter, tensors, adapter_folder)
    check_finite(adapter)
    check_space(folder.parent, count_bytes(tensors.values(), dtype))
    # planned as it will be stored, but each tensor still knows the base's file and dtype
    planned = plan_shards([retyped(tensor, dtype) for tensor in in_model_order(tensors.values())], limit)
    shards = {name: [tensors[tensor.name] for tensor in shard] for name, shard in planned.items()}
    changed = copy_side_files(base, folder, dtype)
    hashes = write_shards(folder, shards, adapter, dtype)
    write_index(folder, planned)
    facts = {
        "parameters": sum(tensor.numel for tensor in tensors.values()),
        "merged_tensors": len(adapter.pairs),
        "other_tensors": len(tensors) - len(adapter.pairs),
        "converted_tensors": sum(tensor.dtype != dtype for tensor in tensors.values()),
        "left_out": left_out,
        "scale": adapter.scale,
        "shards": {name: (folder / name).stat().st_size for name in shards},
        "shard_limit": limit,
        "above_limit": [tensor.name for shard in planned.values() for tensor in shard if tensor.bytes > limit],
        "config_keys_changed": changed,
    }
    return hashes, facts


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, type=Path, help="base model folder")
    parser.add_argument("--adapter", required=True, type=Path, help="adapter folder")
    parser.add_argument("--settings", required=True, type=json.loads, help='JSON: {"dtype", "max_shard_size"}')
    parser.add_argument("--merged", required=True, type=Path, help="folder to write")
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # the inputs are hashed by a thread of its own; it also brings the base's bytes into the page cache ahead of the merge
    with ThreadPoolExecutor(1) as pool, partial_folder(args.merged) as folder:
        inputs = pool.submit(
            lambda: {path.as_posix(): sha256_listing(sha256_files(path)) for path in (args.base, args.adapter)}
        )
        weights, facts = merge(args.base, args.adapter, folder, args.settings)
        others = [name for name in list_files(folder) if name not in weights]
        hashes = weights | sha256_files(folder, others)
        input_hashes = inputs.result()
    write_hashed_record(
        args.record,
        "merge_adapter",
        inputs=input_hashes,
        outputs={args.merged.as_posix(): sha256_listing(hashes)},
        params=args.settings,
        facts=facts,
        packages=["safetensors", "torch"],
    )
    sizes = facts["shards"]
    print(
        f"merged {facts['merged_tensors']} of {facts['merged_tensors'] + facts['other_tensors']} tensors into "
        f"{len(sizes)} shards, the largest {max(sizes.values()):,} bytes"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
