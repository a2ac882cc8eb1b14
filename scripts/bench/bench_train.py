"""Measure training side by side on this machine through train_lora.py: the fast path and the plain
flags, same data and seed.

Reads   a base model folder and a cached data set of real dialogues (repeated until the asked steps
        are filled)
Writes  a record for docs/h100/: tokens/s without padding, peak memory, seconds a step, losses,
        seconds to the first step
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import head, meets
from mindtune.cli import argument_parser, run
from mindtune.records import read_json, read_jsonl, sha256_path, write_json
from mindtune.records import write_record as write_stage_record
from mindtune.train.packing import packs, steps_per_epoch

SETTINGS = {
    "device": "gpu", "method": "lora", "dtype": "bfloat16", "attention": "flash_attention_4",
    "packing": True,
    "max_length": 3072, "batch_size": 8, "grad_accumulation": 4, "gpus": 1, "epochs": 1,
    "learning_rate": 2.0e-4,
    "warmup_ratio": 0.1, "gradient_checkpointing": True, "seed": 42, "save_steps": 1000,
    "save_total_limit": 1, "checkpoint": "last",
    "logging_steps": 1, "kernels": "fast", "memory": "auto",
    "lora": {
        "rank": 8, "alpha": 32, "dropout": 0.1,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
            "down_proj"],
    },
}  # fmt: skip
KIND = {"id": "random weights in Qwen2.5-7B's shape", "type": "qwen2", "template": "qwen2_5"}
PACKAGES = (
    "torch",
    "ms-swift",
    "transformers",
    "peft",
    "accelerate",
    "liger-kernel",
    "flash-attn-4",
    "triton",
)
# A bfloat16 has 8 bits of precision: two ways to the same sum may differ by one part in 256
TARGETS = {
    "tokens_per_second": 14_110, "times_plain": 1.95, "peak_gib": 60,
    "first_step_after_start_seconds": 90,
    "loss_difference": 2**-8, "first_gradient_difference": 2**-8,
}  # fmt: skip
AT_LEAST = ("tokens_per_second", "times_plain")
COLUMNS = [
    "name",
    "tokens_per_second",
    "seconds_a_step",
    "peak_gib",
    "mfu",
    "watts",
    "first_step_after_start_seconds",
]
WARM = 3  # steps before the steady state: kernels are compiled in the first


def repeated(lengths: list[int], steps: int, settings: dict[str, Any]) -> list[int]:
    """Row numbers, repeated, that fill `steps` optimizer steps; `lengths` are the rows' tokens."""
    wanted = steps * settings["batch_size"] * settings["grad_accumulation"]
    count = int(wanted * settings["max_length"] * len(lengths) / sum(lengths) * 1.02)
    rows = [number % len(lengths) for number in range(count)]
    while len(packs([lengths[row] for row in rows], settings["max_length"])) > wanted:
        del rows[-5:]
    return rows


def fill(
    cached: Path, target: Path, steps: int, dialogues: int | None, settings: dict[str, Any]
) -> None:
    """Write a cached data set of so many dialogues, or of as many as fill `steps` optimizer steps,
    repeated; and its plan.
    """
    import pandas
    from datasets import load_from_disk

    lengths = pandas.read_parquet(cached / "lengths.parquet")
    train = lengths[lengths.split == "train"]
    if dialogues:
        rows = [number % len(train) for number in range(dialogues)]
    else:
        rows = repeated(train.tokens.tolist(), steps, settings)
    load_from_disk(str(cached / "train")).select(rows).save_to_disk(str(target / "train"))
    load_from_disk(str(cached / "val")).save_to_disk(str(target / "val"))
    chosen = train.iloc[rows].reset_index(drop=True)
    chosen.to_parquet(target / "lengths.parquet", index=False)
    plan = packs(chosen.tokens.tolist(), settings["max_length"])
    planned = steps_per_epoch(len(plan), settings["batch_size"], settings["grad_accumulation"])
    facts = {
        "steps": planned,
        "packs": len(plan),
        "rows": len(rows),
        "tokens": int(chosen.tokens.sum()),
    }
    write_stage_record(
        target.with_name("pack_stats.json"),
        "pack_stats",
        inputs=[target],
        outputs=[],
        params={},
        facts=facts,
    )


def until(process: subprocess.Popen[bytes], folder: Path, steps: int) -> None:
    """Wait until the training has ended or has taken so many steps, and end it then, with the
    trainer.
    """
    while process.poll() is None:
        time.sleep(0.2)
        if (
            sum(file.read_bytes().count(b"\n") for file in folder.glob("state/*/steps.jsonl"))
            >= steps
        ):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def command(
    args: argparse.Namespace, name: str, folder: Path, settings: dict[str, Any]
) -> list[str]:
    """The command line of train_lora.py."""
    flags = {
        "run": name, "cached": folder / "cached", "pack-stats": folder / "pack_stats.json",
        "model": args.model,
        "made-by": folder / "made.json", "model-kind": json.dumps(KIND),
        "settings": json.dumps(settings), "code": "bench",
        "state-root": folder / "state", "adapter": folder / "adapter",
        "history": folder / "history.csv",
        "loss-figure": folder / "loss.svg", "record": folder / "record.json",
    }  # fmt: skip
    if args.quantizer:
        flags["quantizer"] = args.quantizer
    if args.profile:
        flags["profile"] = args.profile.with_name(f"{args.profile.name}-{name}.txt")
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    return [sys.executable, str(Path(__file__).resolve().parents[1] / "train_lora.py"), *words]


def train(args: argparse.Namespace, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train "steps" steps with train_lora.py, on "dialogues" if that is given; return what its
    observer saw.
    """
    folder = args.work / name
    folder.mkdir(parents=True)
    steps, dialogues = settings.pop("steps"), settings.pop("dialogues", None)
    fill(args.cached, folder / "cached", steps, dialogues, settings)
    made = [args.model, folder / "cached"]
    write_stage_record(
        folder / "made.json", "bench_train", inputs=[], outputs=made, params={}, facts={}
    )
    started = time.monotonic()
    with open(folder / "log", "w", encoding="utf-8") as log:
        program = command(args, name, folder, settings)
        process = subprocess.Popen(program, stdout=log, stderr=log, start_new_session=True)
        if dialogues:
            until(process, folder, steps)
        process.wait()
    wall = time.monotonic() - started
    text = (folder / "log").read_text(encoding="utf-8")
    print(
        f"--- {name}: status {process.returncode}\n{text[-4000:] if process.returncode else ''}",
        flush=True,
    )
    (line_file,) = folder.glob("state/*/steps.jsonl")
    lines = list(read_jsonl(line_file))
    for line in lines:
        print(json.dumps(line), flush=True)
    return {
        "name": name,
        "dialogues": dialogues,
        "choice": next(
            (line for line in text.splitlines() if line.startswith("train.memory:")), ""
        ),
        "wall_seconds": wall,
        **speeds(lines[WARM:]),
        "first_step_after_start_seconds": lines[0]["after_start"]["first step"],
        "after_start": lines[0]["after_start"],
        "losses": [round(line["loss"], 5) for line in lines],
        "gradient_norms": gradient_norms(folder / "history.csv"),
        "tokens_a_step": [line["tokens"] for line in lines],
        "adapter_sha256": sha256_path(folder / "adapter")
        if (folder / "adapter").is_dir()
        else None,
    }


def speeds(steady: list[dict[str, Any]]) -> dict[str, float]:
    """Speed, and what the observer read of a GPU, in the steps after the first ones; nothing if
    there are none.
    """
    if not steady:
        return {}
    found = {
        "tokens_per_second": sum(line["tokens"] for line in steady)
        / sum(line["seconds"] for line in steady),
        "seconds_a_step": median(line["seconds"] for line in steady),
    }
    if "watts" in steady[0]:
        found |= {
            "peak_gib": max(line["memory_gib"] for line in steady),
            "mfu": median(line["mfu"] for line in steady),
            "watts": median(line["watts"] for line in steady),
        }
    return found


def gradient_norms(history: Path) -> list[float]:
    """Norm of the gradient at each step, before clipping; empty for a training that was ended."""
    import pandas

    return pandas.read_csv(history).grad_norm.tolist() if history.exists() else []


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--cached", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument(
        "--runs",
        required=True,
        type=json.loads,
        help='JSON: {name: {"steps": 8, settings that differ}}',
    )
    parser.add_argument(
        "--quantizer", type=Path, help="folder with bitsandbytes, for a run with method qlora"
    )
    parser.add_argument(
        "--profile", type=Path, help="write tables of GPU time by kernel to files of this name"
    )
    parser.add_argument("--note", default="")
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args()
    runs = []
    for name, changes in args.runs.items():
        runs.append(train(args, name, {**SETTINGS, **changes}))
        write_record(args, runs)


def figures(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that there are targets for, of the runs named fast and plain."""
    named = {run["name"]: run for run in runs}
    fast, plain = named.get("fast"), named.get("plain")
    if fast and plain and fast["tokens_a_step"] == plain["tokens_a_step"]:
        return differences(fast, plain)
    found = {name: fast[name] for name in TARGETS if name in (fast or {})}
    if fast and not fast["dialogues"]:
        found.pop("first_step_after_start_seconds")
    if fast and plain:
        found["times_plain"] = fast["tokens_per_second"] / plain["tokens_per_second"]
    return found


def differences(fast: dict[str, Any], plain: dict[str, Any]) -> dict[str, float]:
    """How far two trainings on the same data are apart: the largest relative difference of a loss,
    and that of the first gradient.
    """
    losses = zip(fast["losses"], plain["losses"], strict=True)
    first, wanted = fast["gradient_norms"][0], plain["gradient_norms"][0]
    return {
        "loss_difference": max(abs(mine - other) / other for mine, other in losses),
        "first_gradient_difference": abs(first - wanted) / wanted,
    }


def write_record(args: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    """The record so far."""
    found, config = figures(runs), read_json(args.model / "config.json")
    shape = (
        f"{config['num_hidden_layers']} layers of width {config['hidden_size']}, vocabulary "
        f"{config['vocab_size']:,}"
    )
    write_json(
        args.record,
        {
            **head(
                f"LoRA training through train_lora.py of a model of {shape}",
                "scripts/bench/bench_train.py --runs " + json.dumps(args.runs),
                PACKAGES,
            ),
            "settings": SETTINGS,
            "columns": COLUMNS,
            "runs": runs,
            "median": found or None,
            "target": {name: TARGETS[name] for name in found} or None,
            "met": meets(found, TARGETS, AT_LEAST),
            "note": args.note,
        },
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
