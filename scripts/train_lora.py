"""Train a run's LoRA adapter (or, with method full, its whole model) with ms-swift, from its last
whole checkpoint if there is one.

Reads   the cached data set, pack_stats.json (what must be consumed), the base model
Writes  state/train/{run}/{key}/ while it works; then the adapter, history.csv, a loss figure and
        the stage's record
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.provenance import (
    add_made_by,
    check_chain,
    read_record,
    read_records,
    recorded_hash,
)
from mindtune.records import read_json, sha256_file, write_record
from mindtune.safe_loading import check_folder
from mindtune.train.flags import compare_args, train_flags
from mindtune.train.history import cost, reconcile, steps_taken, write_history
from mindtune.train.memory import choose
from mindtune.train.requirements import add_quantizer, preflight, smallest_card
from mindtune.train.result import kept_checkpoint, write_adapter
from mindtune.train.state import (
    DECIDES_NOTHING,
    checkpoint_step,
    drop_unproven,
    last_checkpoint,
    locked,
    state_key,
    unproven,
)
from mindtune.train.trainer_process import run_trainer


def plan_flags(args: argparse.Namespace, state: Path) -> dict[str, Any]:
    """The flags of `swift sft` for this run on this node's cards; says why in the log."""
    card = smallest_card() if args.settings["device"] == "gpu" else None
    shape, reason = choose(read_json(args.model / "config.json"), args.settings, card)
    print(f"train.memory: {reason}", flush=True)
    return train_flags(args.model_kind, {**args.settings, **shape}) | {
        "model": str(args.model),
        "cached_dataset": [str(args.cached / "train")],
        "cached_val_dataset": [str(args.cached / "val")],
        "output_dir": str(state),
    }


def run_to_the_end(
    args: argparse.Namespace,
    state: Path,
    key: str,
    descriptor: int,
    plan: dict[str, Any],
    flags: dict[str, Any],
) -> None:
    """Run the trainer from its last checkpoint up to the planned step, unless that is done."""
    drop_unproven(state)
    checkpoint = last_checkpoint(state, args.settings["gpus"])
    done, steps = checkpoint_step(checkpoint) if checkpoint else 0, plan["steps"]
    if checkpoint and done >= steps:
        return
    if checkpoint:
        print(f"going on from step {done} of {steps}")
        flags = {**flags, "resume_from_checkpoint": str(checkpoint)}
    unproven(state, done)
    run_trainer(args, flags, state, key, descriptor, plan.get("by_dataset", ()))
    drop_unproven(state)


def check_end(state: Path, gpus: int, steps: int, flags: dict[str, Any]) -> Path:
    """The last checkpoint, which is that of the planned step, trained as the flags say; else a
    UserError.
    """
    checkpoint = last_checkpoint(state, gpus)
    if checkpoint is None or checkpoint_step(checkpoint) != steps:
        raise UserError(
            f"{state} ends at {checkpoint.name if checkpoint else 'no checkpoint'} and pack_stats "
            f"planned {steps} steps; "
            "the trainer did not consume what was planned, so look at its messages above"
        )
    compare_args(checkpoint / "args.json", flags)
    return checkpoint


def train(
    args: argparse.Namespace, state: Path, key: str, descriptor: int, plan: dict[str, Any]
) -> Path:
    """Plan, run and check; return the last checkpoint."""
    flags = plan_flags(args, state)
    run_to_the_end(args, state, key, descriptor, plan, flags)
    return check_end(state, args.settings["gpus"], plan["steps"], flags)


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--cached", required=True, type=Path)
    parser.add_argument("--pack-stats", required=True, type=Path)
    parser.add_argument("--model", required=True, type=Path)
    add_made_by(parser, required=True)
    add_json(parser, "--model-kind", "id", "type", "template")
    parser.add_argument(
        "--settings", required=True, type=json.loads, help="JSON: the run's training settings"
    )
    parser.add_argument(
        "--quantizer", type=Path, help="folder with the packages that method qlora needs besides"
    )
    parser.add_argument("--code", required=True, help="hash of the code, part of the state's key")
    parser.add_argument("--state-root", required=True, type=Path)
    parser.add_argument("--adapter", required=True, type=Path)
    parser.add_argument("--history", required=True, type=Path)
    parser.add_argument("--loss-figure", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    parser.add_argument(
        "--profile", type=Path, help="write a table of GPU time by kernel here (slows one step)"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    quantizer = add_quantizer(args.quantizer) if args.settings["method"] == "qlora" else []
    check_folder(args.model)
    preflight(args.settings, read_json(args.model / "config.json"), args.state_root)
    plan = read_record(args.pack_stats)
    base_hash, data_hash = (recorded_hash(path, args.made_by) for path in (args.model, args.cached))
    inputs = {args.model.as_posix(): base_hash, args.cached.as_posix(): data_hash}
    check_chain({args.pack_stats.as_posix(): plan, **read_records(args.made_by)})
    # the choice among the checkpoints trains nothing anew either
    left_out = ("checkpoint", *DECIDES_NOTHING)
    trained = {name: value for name, value in args.settings.items() if name not in left_out}
    key = state_key(
        data=data_hash, base=base_hash, kind=args.model_kind, settings=trained, code=args.code
    )
    state = (args.state_root / key).resolve()
    with locked(state) as descriptor:
        checkpoint = train(args, state, key, descriptor, plan["facts"])
        log = read_json(checkpoint / "trainer_state.json")["log_history"]
        kept = kept_checkpoint(checkpoint, args.settings["checkpoint"], log)
        write_adapter(kept, args.adapter, args.model_kind["id"], args.model)
        lines = steps_taken(state / "steps.jsonl")
        facts = write_history(log, lines, args.history, args.loss_figure)
        facts |= reconcile(lines, plan["facts"], args.settings, args.cached) | {
            "kept_step": checkpoint_step(kept)
        }
    write_record(
        args.record,
        "train_lora",
        inputs={**inputs, args.pack_stats.as_posix(): sha256_file(args.pack_stats)},
        outputs=[args.adapter, args.history, args.loss_figure],
        params={"model": args.model_kind, "base_sha256": base_hash, **args.settings},
        facts=facts
        | {"run_id": key}
        | (cost(lines, args.settings["gpus"]) if args.settings["device"] == "gpu" else {}),
        packages=["ms-swift", "torch", "transformers", "peft", "swanlab", *quantizer],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
