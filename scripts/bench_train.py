"""Measure training side by side on this GPU through train_lora.py: the fast path and the plain flags, same data and seed.

Reads   a base model folder and a cached data set of real dialogues (repeated until the asked steps are filled)
Writes  a record for docs/h100/: tokens/s without padding, peak memory, seconds a step, losses, seconds to the first step
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from mindtune.cli import run
from mindtune.measuring import head
from mindtune.packing import packs, steps_per_epoch
from mindtune.records import read_json, read_jsonl, write_json

SETTINGS = {
    "device": "gpu", "method": "lora", "dtype": "bfloat16", "attention": "flash_attention_4", "packing": True,
    "max_length": 3072, "batch_size": 8, "grad_accumulation": 4, "gpus": 1, "epochs": 1, "learning_rate": 2.0e-4,
    "warmup_ratio": 0.1, "gradient_checkpointing": True, "seed": 42, "save_steps": 1000, "save_total_limit": 1,
    "logging_steps": 1, "kernels": "fast", "memory": "auto",
    "lora": {
        "rank": 8, "alpha": 32, "dropout": 0.1,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    },
}  # fmt: skip
KIND = {"id": "random weights in Qwen2.5-7B's shape", "type": "qwen2", "template": "qwen2_5"}
PACKAGES = ("torch", "ms-swift", "transformers", "peft", "accelerate", "liger-kernel", "flash-attn-4", "triton")
WARM = 3  # steps before the steady state: kernels are compiled in the first


def fill(cached: Path, target: Path, steps: int, settings: dict[str, Any]) -> int:
    """Write a cached data set of repeated rows that fills `steps` optimizer steps, and its plan; return its tokens."""
    import pandas
    from datasets import load_from_disk

    lengths = pandas.read_parquet(cached / "lengths.parquet")
    train = lengths[lengths.split == "train"]
    wanted = steps * settings["batch_size"] * settings["grad_accumulation"]
    rows = [number % len(train) for number in range(int(wanted * settings["max_length"] / train.tokens.mean() * 1.02))]
    while len(packs(train.tokens.iloc[rows].tolist(), settings["max_length"])) > wanted:
        del rows[-5:]
    load_from_disk(str(cached / "train")).select(rows).save_to_disk(str(target / "train"))
    load_from_disk(str(cached / "val")).save_to_disk(str(target / "val"))
    chosen = train.iloc[rows].reset_index(drop=True)
    chosen.to_parquet(target / "lengths.parquet", index=False)
    plan = packs(chosen.tokens.tolist(), settings["max_length"])
    planned = steps_per_epoch(len(plan), settings["batch_size"], settings["grad_accumulation"])
    facts = {"steps": planned, "packs": len(plan), "rows": len(rows), "tokens": int(chosen.tokens.sum())}
    write_json(target / "pack_stats.json", {"facts": facts})
    return facts["tokens"]


def train(args: argparse.Namespace, name: str, steps: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Train `steps` steps with train_lora.py; return what its observer saw."""
    folder = args.work / name
    folder.mkdir(parents=True)
    fill(args.cached, folder / "cached", steps, settings)
    write_json(folder / "model.json", {"outputs": {"model": "random"}})
    flags = {
        "run": name, "cached": folder / "cached", "pack-stats": folder / "cached/pack_stats.json", "model": args.model,
        "model-record": folder / "model.json", "model-kind": json.dumps(KIND), "settings": json.dumps(settings), "code": "bench",
        "state-root": folder / "state", "adapter": folder / "adapter", "history": folder / "history.csv",
        "loss-figure": folder / "loss.svg", "record": folder / "record.json",
    }  # fmt: skip
    if args.profile:
        flags["profile"] = args.profile.with_name(f"{args.profile.name}-{name}.txt")
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    with open(folder / "log", "w", encoding="utf-8") as log:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("train_lora.py")), *words],
            stdout=log,
            stderr=log,
        )
    text = (folder / "log").read_text(encoding="utf-8")
    print(f"--- {name}: status {done.returncode}\n{text[-4000:] if done.returncode else ''}", flush=True)
    (line_file,) = folder.glob("state/*/steps.jsonl")
    lines = list(read_jsonl(line_file))
    steady = lines[WARM:] or lines
    for line in lines:
        print(json.dumps(line), flush=True)
    return {
        "name": name,
        "choice": next((line for line in text.splitlines() if line.startswith("train.memory:")), ""),
        "tokens_per_second": sum(line["tokens"] for line in steady) / sum(line["seconds"] for line in steady),
        "seconds_a_step": median(line["seconds"] for line in steady),
        "peak_gib": max(line["memory_gib"] for line in lines),
        "mfu": median(line["mfu"] for line in steady),
        "watts": median(line["watts"] for line in steady),
        "first_step_after_start_seconds": lines[0]["seconds_after_start"],
        "losses": [round(line["loss"], 5) for line in lines],
        "tokens_a_step": [line["tokens"] for line in lines],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--cached", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--runs", required=True, type=json.loads, help="JSON: {name: [steps, {settings that differ}]}")
    parser.add_argument("--profile", type=Path, help="write tables of GPU time by kernel to files of this name")
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args()
    runs = []
    for name, (steps, changes) in args.runs.items():
        runs.append(train(args, name, steps, {**SETTINGS, **changes}))
        write_record(args, runs)


def write_record(args: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    """The record so far."""
    write_json(
        args.record,
        {
            **head(
                "LoRA training of Qwen2.5-7B's shape with random weights through train_lora.py, packed real dialogues",
                "scripts/bench_train.py --runs " + json.dumps(args.runs),
                PACKAGES,
            ),
            "settings": SETTINGS,
            "parameters": read_json(args.model / "config.json"),
            "runs": runs,
        },
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
