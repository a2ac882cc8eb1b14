"""Merge a LoRA adapter into its base and store the result in safetensors shards of a bounded size.
Runs on the CPU.

Of a run with method full there is nothing to add: its weights take the place of the base's.

The work is streamed: a tensor is mapped from the base's shard, merged, and written by a second
thread, so memory holds a few tensors, not a model. Each of --threads processes makes whole shards;
the bytes do not depend on their number. Nothing is known to be right until verify_merge.py has
proven it.

Reads   the base model folder and the adapter folder
Writes  the merged model folder (weights, index, and the base's config, tokenizer and template
        files byte for byte) and the record
"""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.export.adapter import Adapter, check_finite, match_adapter, read_adapter
from mindtune.export.adapter_config import check_trained
from mindtune.export.merging import (
    copy_side_files,
    count_bytes,
    drop_tied_head,
    read_base,
    read_full,
    write_shard,
)
from mindtune.export.shards import in_model_order, parse_size, plan_shards, retyped, write_index
from mindtune.processes import in_order
from mindtune.provenance import add_made_by, check_inputs
from mindtune.records import (
    list_files,
    partial_folder,
    sha256_file,
    sha256_listing,
    write_hashed_record,
)
from mindtune.tensors import Tensor, is_full


def check_space(folder: Path, needed: int) -> None:
    """A UserError if the disk cannot take the merged weights."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {free:,} bytes are free, the merged weights need {needed:,}; make room"
        )


@dataclass(frozen=True)
class Plan:
    """What is merged: the base's tensors (or the fully trained ones) and the adapter; what is left
    out of them.
    """

    tensors: dict[str, Tensor]
    adapter: Adapter
    trained: list[Tensor]
    left_out: list[str]


def read_plan(base: Path, adapter_folder: Path) -> Plan:
    """Read the layout of base and adapter, which must belong together and be finite."""
    config, tensors = read_base(base)
    tensors, left_out = drop_tied_head(config, tensors)
    if is_full(adapter_folder):
        adapter = Adapter({}, 1.0, {})
        tensors = read_full(adapter_folder, tensors)
        trained = list(tensors.values())
    else:
        adapter = read_adapter(adapter_folder)
        match_adapter(adapter, tensors, adapter_folder)
        trained = adapter.tensors()
    check_finite(trained)
    return Plan(tensors, adapter, trained, left_out)


def merge(
    base: Path, adapter_folder: Path, folder: Path, settings: dict[str, Any], threads: int
) -> tuple[dict[Path, str], dict[str, Any]]:
    """Fill `folder` with the merged model; return ({file read or weight file made: sha256},
    facts).
    """
    import torch

    # before any computation: its threads would not survive in the processes, and each of these has
    # its own core
    torch.set_num_threads(1)
    dtype, limit = settings["dtype"], parse_size(settings["max_shard_size"])
    plan = read_plan(base, adapter_folder)
    tensors = plan.tensors
    check_space(folder.parent, count_bytes(tensors.values(), dtype))
    # planned as it will be stored, but each tensor still knows the base's file and dtype
    planned = plan_shards(
        [retyped(tensor, dtype) for tensor in in_model_order(tensors.values())], limit
    )
    shards = {
        folder / name: [tensors[tensor.name] for tensor in shard] for name, shard in planned.items()
    }
    changed = copy_side_files(base, folder, dtype)

    def digest(path: Path) -> str:
        if path in shards:
            return write_shard(path, shards[path], plan.adapter, dtype)
        return sha256_file(path)

    read = [source / name for source in (base, adapter_folder) for name in list_files(source)]
    hashes = dict(in_order(lambda: digest, [*shards, *read], threads))
    write_index(folder, planned)
    sizes = {path.name: path.stat().st_size for path in shards}
    large = [tensor.name for part in planned.values() for tensor in part if tensor.bytes > limit]
    return hashes, facts_of(plan, dtype) | {
        "shards": sizes,
        "shard_limit": limit,
        "above_limit": large,
        "config_keys_changed": changed,
    }


def facts_of(plan: Plan, dtype: str) -> dict[str, Any]:
    """Counts of what was merged, and how, for the record."""
    tensors = plan.tensors.values()
    merged = len(plan.adapter.pairs) or len(plan.trained)
    return {
        "parameters": sum(tensor.numel for tensor in tensors),
        "merged_tensors": merged,
        "other_tensors": len(tensors) - merged,
        "converted_tensors": sum(tensor.dtype != dtype for tensor in tensors),
        "left_out": plan.left_out,
        "scale": plan.adapter.scale,
    }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--base", required=True, type=Path, help="base model folder")
    parser.add_argument("--adapter", required=True, type=Path, help="adapter folder")
    add_made_by(parser)
    add_json(parser, "--settings", "dtype", "max_shard_size")
    parser.add_argument(
        "--threads", type=int, default=1, help="processes; the result is the same for any number"
    )
    parser.add_argument("--merged", required=True, type=Path, help="folder to write")
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def listing(folder: Path, hashes: Mapping[Path, str]) -> str:
    """Hash of a folder, with the files that are hashed already not read again."""
    return sha256_listing(
        {
            name: hashes.get(folder / name) or sha256_file(folder / name)
            for name in list_files(folder)
        }
    )


def main() -> None:
    args = parse_args()
    with partial_folder(args.merged) as folder:
        hashes, facts = merge(args.base, args.adapter, folder, args.settings, args.threads)
        inputs = {
            source.as_posix(): listing(source, hashes) for source in (args.base, args.adapter)
        }
        check_inputs(inputs, args.made_by)
        check_trained(args.adapter, args.made_by)
        merged = listing(folder, hashes)
    write_hashed_record(
        args.record,
        "merge_adapter",
        inputs=inputs,
        outputs={args.merged.as_posix(): merged},
        params=args.settings,
        facts=facts,
        packages=["safetensors", "torch"],
    )
    sizes = facts["shards"]
    print(
        f"merged {facts['merged_tensors']} of {facts['merged_tensors'] + facts['other_tensors']} "
        f"tensors into "
        f"{len(sizes)} shards, the largest {max(sizes.values()):,} bytes"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
