"""Train a run's LoRA adapter with ms-swift, from its last whole checkpoint if there is one.

Reads   the cached data set, pack_stats.json (what must be consumed), the base model
Writes  state/train/{run}/{key}/ while it works; then the adapter, history.csv, a loss figure and the stage's record
"""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, run
from mindtune.figures import loss_curve
from mindtune.records import partial, partial_folder, read_json, sha256_path, write_json, write_record
from mindtune.swift import compare_args, environment, swift, train_flags
from mindtune.training_state import checkpoint_step, last_checkpoint, locked, state_key

ATTENTION_MODULE = {"flash_attn": "flash_attn.flash_attn_interface", "flash_attention_4": "flash_attn.cute"}


def preflight(settings: dict[str, Any]) -> None:
    """Refuse in seconds what would fail after the model is loaded."""
    if settings["device"] == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            "train.device is gpu, but torch finds no CUDA device on this node; run on a GPU node, or set train.device to cpu"
        )
    module = ATTENTION_MODULE.get(settings["attention"])
    if module and not (find_spec(module.split(".")[0]) and find_spec(module)):
        raise UserError(
            f"train.attention is {settings['attention']}, but {module} is not installed in the train environment; "
            "install it there, or choose another implementation"
        )


def train(args: argparse.Namespace, state: Path, key: str, descriptor: int, steps: int) -> Path:
    """Run the trainer up to the planned number of steps, unless that is done already; return the last checkpoint."""
    flags = train_flags(args.model_kind, args.settings) | {
        "model": str(args.model),
        "cached_dataset": [str(args.cached / "train")],
        "cached_val_dataset": [str(args.cached / "val")],
        "output_dir": str(state),
    }
    checkpoint = last_checkpoint(state)
    if checkpoint is None or checkpoint_step(checkpoint) < steps:
        if checkpoint:
            print(f"going on from step {checkpoint_step(checkpoint)} of {steps}")
            flags["resume_from_checkpoint"] = str(checkpoint)
        tracking = {
            "MINDTUNE_SWANLAB_DIR": str(state / "swanlab"),
            "MINDTUNE_SWANLAB_EXPERIMENT": args.run,
            "MINDTUNE_SWANLAB_ID": key,
        }
        on_cpu = {"MINDTUNE_CPU_PACKING": "1", "CUDA_VISIBLE_DEVICES": ""} if args.settings["device"] == "cpu" else {}
        swift("sft", flags, environment(**tracking, **on_cpu), keep_open=[descriptor])
        checkpoint = last_checkpoint(state)
    if checkpoint is None or checkpoint_step(checkpoint) != steps:
        raise UserError(
            f"{state} ends at {checkpoint.name if checkpoint else 'no checkpoint'} and pack_stats planned {steps} steps; "
            "the trainer did not consume what was planned, so look at its messages above"
        )
    compare_args(checkpoint / "args.json", flags)
    return checkpoint


def write_adapter(checkpoint: Path, target: Path, base: str) -> None:
    """Copy the adapter's weights, and its configuration in a fixed order and without a path of this machine."""
    config = read_json(checkpoint / "adapter_config.json")
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base
    with partial_folder(target) as folder:
        (folder / "adapter_model.safetensors").write_bytes((checkpoint / "adapter_model.safetensors").read_bytes())
        write_json(folder / "adapter_config.json", config)


def write_history(log: list[dict[str, Any]], history: Path, figure: Path) -> dict[str, Any]:
    """Write one row a logged step, and the loss curve; return facts."""
    import pandas

    training = [entry for entry in log if "loss" in entry]
    evaluations = [entry for entry in log if "eval_loss" in entry]
    dev = {entry["step"]: entry["eval_loss"] for entry in evaluations}
    columns = ["step", "epoch", "loss", "learning_rate", "grad_norm", "token_acc", "memory(GiB)"]
    table = pandas.DataFrame(training).reindex(columns=columns).rename(columns={"memory(GiB)": "memory_gib"})
    table["dev_loss"] = table["step"].map(dev)
    with partial(history) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    loss_curve(figure, [(entry["step"], entry["loss"]) for entry in training], sorted(dev.items()))
    return {
        "first_loss": training[0]["loss"],
        "last_loss": training[-1]["loss"],
        "first_dev_loss": evaluations[0]["eval_loss"] if evaluations else None,
        "last_dev_loss": evaluations[-1]["eval_loss"] if evaluations else None,
    }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--cached", required=True, type=Path)
    parser.add_argument("--pack-stats", required=True, type=Path)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--model-record", required=True, type=Path)
    parser.add_argument("--model-kind", required=True, type=json.loads, help='JSON: {"id", "type", "template"}')
    parser.add_argument("--settings", required=True, type=json.loads, help="JSON: the run's training settings")
    parser.add_argument("--code", required=True, help="hash of the code, part of the state's key")
    parser.add_argument("--state-root", required=True, type=Path)
    parser.add_argument("--adapter", required=True, type=Path)
    parser.add_argument("--history", required=True, type=Path)
    parser.add_argument("--loss-figure", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    preflight(args.settings)
    planned = read_json(args.pack_stats)["facts"]
    lengths = args.cached / "lengths.parquet"
    base_hash = next(iter(read_json(args.model_record)["outputs"].values()))
    key = state_key(
        data=sha256_path(lengths), base=base_hash, kind=args.model_kind, settings=args.settings, code=args.code
    )
    state = (args.state_root / key).resolve()
    with locked(state) as descriptor:
        checkpoint = train(args, state, key, descriptor, planned["steps"])
        log = read_json(checkpoint / "trainer_state.json")["log_history"]
        write_adapter(checkpoint, args.adapter, args.model_kind["id"])
        facts = write_history(log, args.history, args.loss_figure)
    write_record(
        args.record,
        "train_lora",
        inputs=[lengths, args.pack_stats],
        outputs=[args.adapter, args.history, args.loss_figure],
        params={"model": args.model_kind, "base_sha256": base_hash, **args.settings},
        facts=facts
        | {"steps": planned["steps"], "packs": planned["packs"], "tokens": planned["tokens"], "run_id": key},
        packages=["ms-swift", "torch", "transformers", "peft", "swanlab"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
