"""Train a run's LoRA adapter (or, with method full, its whole model) with ms-swift, from its last
whole checkpoint if there is one.

Reads   the cached data set, pack_stats.json (what must be consumed), the base model
Writes  state/train/{run}/{key}/ while it works; then the adapter, history.csv, a loss figure and
        the stage's record
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from mindtune.card_memory import card_memory
from mindtune.cli import UserError, run
from mindtune.preflight import check_compiler, check_driver, check_node
from mindtune.provenance import (
    add_made_by,
    check_chain,
    hash_inputs,
    read_record,
    read_records,
    recorded_hash,
)
from mindtune.records import (
    link_or_copy,
    partial,
    partial_folder,
    read_json,
    sha256_file,
    write_json,
    write_record,
)
from mindtune.safe_loading import check_folder
from mindtune.tensors import INDEX, is_full, weight_files
from mindtune.train.figures import loss_curve
from mindtune.train.flags import compare_args, train_flags
from mindtune.train.memory import checkpoint_bytes, choose, fixed_bytes
from mindtune.train.state import (
    DECIDES_NOTHING,
    checkpoint_step,
    drop_unproven,
    last_checkpoint,
    locked,
    prove,
    state_key,
    unproven,
)
from mindtune.train.swift import environment, swift

STARTED = time.time()
ATTENTION_MODULES = {
    "sdpa": [],
    "flash_attn": ["flash_attn.flash_attn_interface"],
    "flash_attention_4": ["flash_attn.cute"],
}
# Micro-batches differ in length. Fixed blocks of memory leave gaps: 78 GiB reserved where growing
# ones take 51. And Liger 0.8.5's
# CuTe kernel for rotary positions is compiled anew for every length, 14 ms a call, longer than the
# layer takes; its Triton one is not.
ON_GPU = {
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    "LIGER_KERNEL_IMPL_ROPE": "nvidia-triton",
}


def preflight(settings: dict[str, Any], model: dict[str, Any], state_root: Path) -> None:
    """Refuse in seconds what would fail after the model is loaded; what takes torch to see, the
    trainer's process refuses.
    """
    check_node(state_root, checkpoint_bytes(model, settings) * (settings["save_total_limit"] + 1))
    if settings["device"] == "gpu":
        check_driver(settings["gpus"])
        check_compiler()
        check_memory(smallest_card(), settings, model)


@cache
def smallest_card() -> int:
    """Bytes of the smallest card's memory; asked of the driver, because torch takes seconds to
    import.
    """
    return min(total for total, _ in card_memory())


def add_quantizer(folder: Path | None) -> list[str]:
    """Put the quantiser's folder at the end of the import path; return its packages' names. Not
    there at all: a UserError.
    """
    sys.path += [str(folder)] if folder else []
    if not util.find_spec("bitsandbytes"):
        raise UserError(
            f"train.method is qlora, and bitsandbytes is neither in {folder} nor in this "
            f"environment; "
            "build it with envs/qlora.lock (snakemake does so), or take another method"
        )
    return ["bitsandbytes"]


def check_memory(card: int, settings: dict[str, Any], model: dict[str, Any]) -> None:
    """The card's memory, in bytes, holds the weights and something to compute with."""
    needed = fixed_bytes(model, settings)
    if needed > 0.9 * card:
        raise UserError(
            f"the card has {card / 2**30:.0f} GiB, and train.method {settings['method']} takes "
            f"{needed / 2**30:.0f} GiB for this base in "
            f"{settings['dtype']} before the first token; use a larger card, a smaller model or "
            f"another method"
        )


def trainer_environment(
    args: argparse.Namespace, state: Path, key: str, recompute: bool, stopped: Path
) -> dict[str, str]:
    """What the plugin reads: where SwanLab records, and what our trainer and its observer need."""
    observer = {
        "kernels": args.settings["kernels"],
        "recompute": recompute,
        "started": STARTED,
        "launched": time.time(),
        "gpu": args.settings["device"] == "gpu"
        and {
            "cards": args.settings["gpus"],
            "modules": ATTENTION_MODULES[args.settings["attention"]],
        },
        "isolation": args.settings["packing"]
        and {
            "model": str(args.model),
            "attention": args.settings["attention"],
            "dtype": args.settings["dtype"],
        },
        "steps": str(state / "steps.jsonl"),
        "stopped": str(stopped),
        "profile": args.profile and str(args.profile),
    }
    on_cpu = (
        {"MINDTUNE_CPU_PACKING": "1", "CUDA_VISIBLE_DEVICES": ""}
        if args.settings["device"] == "cpu"
        else {}
    )
    on_gpu = ON_GPU if args.settings["device"] == "gpu" else {}
    paths = [os.environ.get("PYTHONPATH"), args.settings["method"] == "qlora" and args.quantizer]
    return environment(
        MINDTUNE_SWANLAB_DIR=str(state / "swanlab"),
        MINDTUNE_SWANLAB_EXPERIMENT=args.run,
        MINDTUNE_SWANLAB_ID=key,
        MINDTUNE_TRAINER=json.dumps(observer),
        **on_cpu,
        **on_gpu,
        PYTHONPATH=os.pathsep.join(str(path) for path in paths if path),
    )


def run_trainer(
    args: argparse.Namespace,
    flags: dict[str, Any],
    state: Path,
    key: str,
    recompute: bool,
    descriptor: int,
) -> None:
    """Start ms-swift; if its observer stopped it, the reason is the error. What it reads is
    compared meanwhile (`watch_inputs`).
    """
    wrong: list[Exception] = []
    # not among the checkpoints: their disk may be what is full
    with tempfile.TemporaryDirectory(prefix="mindtune-") as folder:
        stopped = Path(folder) / "stopped.txt"
        try:
            env = trainer_environment(args, state, key, recompute, stopped)
            beside = watch_inputs(args, state, wrong)
            swift(
                "sft",
                flags,
                env,
                keep_open=[descriptor],
                processes=args.settings["gpus"],
                beside=beside,
            )
        except UserError:
            if not wrong and stopped.is_file():
                raise UserError(stopped.read_text(encoding="utf-8")) from None
            if not wrong:
                raise
    if wrong:
        raise wrong[0]


def watch_inputs(
    args: argparse.Namespace, state: Path, wrong: list[Exception]
) -> Callable[[subprocess.Popen], None]:
    """A function for a thread beside the trainer: base and cached data are what their records say,
    or the trainer is ended.

    Reading 15 GB takes seconds, for which no card may wait: so with a GPU it is done once the
    first step is taken, when the trainer has just read the same bytes. Until then the new
    checkpoints count as unproven (see training_state.py).
    """
    steps = state / "steps.jsonl"
    card = args.settings["device"] == "gpu"
    before = steps.stat().st_size if steps.is_file() else 0

    def taken() -> bool:
        return steps.is_file() and steps.stat().st_size > before

    def compare(trainer: subprocess.Popen) -> None:
        while card and not taken():
            if trainer.poll() is not None and not taken():
                return  # without a step there is no checkpoint of it
            time.sleep(0.1)
        try:
            hash_inputs([args.model, args.cached], args.made_by)
            prove(state)
        except (UserError, OSError) as error:
            wrong.append(error)
            trainer.terminate()

    return compare


def train(args: argparse.Namespace, state: Path, key: str, descriptor: int, steps: int) -> Path:
    """Run the trainer up to the planned number of steps, unless that is done already; return the
    last checkpoint.
    """
    card = smallest_card() if args.settings["device"] == "gpu" else None
    shape, reason = choose(read_json(args.model / "config.json"), args.settings, card)
    print(f"train.memory: {reason}", flush=True)
    flags = train_flags(args.model_kind, {**args.settings, **shape}) | {
        "model": str(args.model),
        "cached_dataset": [str(args.cached / "train")],
        "cached_val_dataset": [str(args.cached / "val")],
        "output_dir": str(state),
    }
    gpus = args.settings["gpus"]
    drop_unproven(state)
    checkpoint = last_checkpoint(state, gpus)
    if checkpoint is None or checkpoint_step(checkpoint) < steps:
        if checkpoint:
            print(f"going on from step {checkpoint_step(checkpoint)} of {steps}")
            flags["resume_from_checkpoint"] = str(checkpoint)
        unproven(state, checkpoint_step(checkpoint) if checkpoint else 0)
        run_trainer(args, flags, state, key, shape["gradient_checkpointing"], descriptor)
        drop_unproven(state)
        checkpoint = last_checkpoint(state, gpus)
    if checkpoint is None or checkpoint_step(checkpoint) != steps:
        raise UserError(
            f"{state} ends at {checkpoint.name if checkpoint else 'no checkpoint'} and pack_stats "
            f"planned {steps} steps; "
            "the trainer did not consume what was planned, so look at its messages above"
        )
    compare_args(checkpoint / "args.json", flags)
    return checkpoint


def kept_checkpoint(last: Path, which: str, log: list[dict[str, Any]]) -> Path:
    """The checkpoint whose adapter is kept: the last, or the one with the lowest dev loss, the
    first of equals.
    """
    if which == "last":
        return last
    losses = {entry["step"]: entry["eval_loss"] for entry in log if "eval_loss" in entry}
    best = last.with_name(f"checkpoint-{min(losses, key=losses.__getitem__)}")
    if not best.is_dir():
        raise UserError(
            f"{best} has the lowest dev loss and is not there any more; raise "
            f"train.save_total_limit, or set train.checkpoint to last"
        )
    return best


def write_adapter(checkpoint: Path, target: Path, base: str, model: Path) -> None:
    """Copy the adapter's weights, and its configuration in a fixed order and without a path of
    this machine.

    Of a fully trained model: all weights, and the base's configuration, with which they can be
    loaded.
    """
    if is_full(checkpoint):
        with partial_folder(target) as folder:
            for path in (*weight_files(checkpoint), *checkpoint.glob(INDEX)):
                link_or_copy(path, folder / path.name)
            (folder / "config.json").write_bytes((model / "config.json").read_bytes())
        return
    config = read_json(checkpoint / "adapter_config.json")
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base
    with partial_folder(target) as folder:
        (folder / "adapter_model.safetensors").write_bytes(
            (checkpoint / "adapter_model.safetensors").read_bytes()
        )
        write_json(folder / "adapter_config.json", config)


def steps_taken(file: Path) -> list[dict[str, Any]]:
    """The observer's lines, one a step: a step that a killed job repeated counts once, as it was
    done last.
    """
    lines: dict[int, dict[str, Any]] = {}
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue  # cut off by a kill; its step was done again
        lines[line["step"]] = line
    return [lines[step] for step in sorted(lines)]


def reconcile(
    lines: list[dict[str, Any]], planned: dict[str, Any], settings: dict[str, Any]
) -> dict[str, int]:
    """What the model was given, added up; a UserError if that is not what pack_stats planned.

    Several GPUs get equally many micro-batches: what the last round of an epoch lacks is filled
    with packs that were given before.
    """
    given = {key: sum(line[key] for line in lines) for key in ("rows", "tokens", "packs")} | {
        "steps": len(lines)
    }
    wanted = {key: planned[key] * settings["epochs"] for key in ("rows", "tokens", "packs")} | {
        "steps": planned["steps"]
    }
    repeated = (
        -planned["packs"] % (settings["batch_size"] * settings["gpus"])
        if settings["gpus"] > 1
        else 0
    )
    if (
        repeated
        and given["steps"] == wanted["steps"]
        and given["packs"] == wanted["packs"] + repeated * settings["epochs"]
    ):
        return given
    for key, value in given.items():
        if value != wanted[key]:
            raise UserError(
                f"the trainer was given {value} {key} and pack_stats planned {wanted[key]}; "
                "the cached data set is not the one that was planned for, so delete "
                "results/runs/{run}/cached and run again"
            )
    return given


def cost(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Time and energy of the steps; a GPU's part is absent on a CPU."""
    seconds = sum(line["seconds"] for line in lines)
    facts = {
        "step_seconds": seconds,
        "tokens_per_second": sum(line["tokens"] for line in lines) / seconds,
    }
    if all("joules" in line for line in lines):
        facts |= {
            "gpu_hours": seconds / 3600,
            "kilowatt_hours": sum(line["joules"] for line in lines) / 3.6e6,
            "peak_memory_gib": max(line["memory_gib"] for line in lines),
            "start_seconds": lines[0].get("after_start"),
        }
    return facts


def write_history(
    log: list[dict[str, Any]], lines: list[dict[str, Any]], history: Path, figure: Path
) -> dict[str, Any]:
    """Write one row a step, and the loss curve; return facts.

    Loss and what was measured of the GPU are of every step; learning rate and gradient norm of the
    logged ones. Times are not in it on a CPU, where equal runs give equal bytes.
    """
    import pandas

    evaluations = [entry for entry in log if "eval_loss" in entry]
    dev = {entry["step"]: entry["eval_loss"] for entry in evaluations}
    logged = {entry["step"]: entry for entry in log if "loss" in entry}
    measured = [
        "seconds",
        "tokens_per_second",
        "mfu",
        "memory_gib",
        "gpu_percent",
        "watts",
        "joules",
    ]
    columns = ["step", "loss", "packs", "rows", "tokens"] + (
        measured if "joules" in lines[0] else []
    )
    table = pandas.DataFrame(lines).reindex(columns=columns)
    for name in ("epoch", "learning_rate", "grad_norm"):
        table[name] = table["step"].map({step: entry[name] for step, entry in logged.items()})
    table["dev_loss"] = table["step"].map(dev)
    with partial(history) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    loss_curve(figure, [(line["step"], line["loss"]) for line in lines], sorted(dev.items()))
    return {
        "first_loss": lines[0]["loss"],
        "last_loss": lines[-1]["loss"],
        "first_dev_loss": evaluations[0]["eval_loss"] if evaluations else None,
        "last_dev_loss": evaluations[-1]["eval_loss"] if evaluations else None,
    }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="name of the run")
    parser.add_argument("--cached", required=True, type=Path)
    parser.add_argument("--pack-stats", required=True, type=Path)
    parser.add_argument("--model", required=True, type=Path)
    add_made_by(parser, required=True)
    parser.add_argument(
        "--model-kind", required=True, type=json.loads, help='JSON: {"id", "type", "template"}'
    )
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
        checkpoint = train(args, state, key, descriptor, plan["facts"]["steps"])
        log = read_json(checkpoint / "trainer_state.json")["log_history"]
        kept = kept_checkpoint(checkpoint, args.settings["checkpoint"], log)
        write_adapter(kept, args.adapter, args.model_kind["id"], args.model)
        lines = steps_taken(state / "steps.jsonl")
        facts = write_history(log, lines, args.history, args.loss_figure)
        facts |= reconcile(lines, plan["facts"], args.settings) | {
            "kept_step": checkpoint_step(kept)
        }
    write_record(
        args.record,
        "train_lora",
        inputs={**inputs, args.pack_stats.as_posix(): sha256_file(args.pack_stats)},
        outputs=[args.adapter, args.history, args.loss_figure],
        params={"model": args.model_kind, "base_sha256": base_hash, **args.settings},
        facts=facts | {"run_id": key} | (cost(lines) if args.settings["device"] == "gpu" else {}),
        packages=["ms-swift", "torch", "transformers", "peft", "swanlab", *quantizer],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
