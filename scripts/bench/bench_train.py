"""Measure training side by side on this machine through train_lora.py: the fast path and the plain
flags, same data and seed.

Reads   a base model folder and a cached data set of real dialogues (repeated until the asked steps
        are filled)
Writes  a record for docs/h100/: tokens/s without padding, peak memory, seconds a step, losses,
        seconds to the first step
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import head, meets
from bench.train_figures import AT_LEAST, TARGETS, WARM, figures, gradient_norms, speeds
from bench.train_steps import fill, run_to_steps
from mindtune.cli import argument_parser, run
from mindtune.records import read_json, read_jsonl, sha256_path, write_json
from mindtune.records import write_record as write_stage_record

SETTINGS = {
    "device": "gpu", "method": "lora", "dtype": "bfloat16", "attention": "flash_attention_4",
    "packing": True,
    "max_length": 3072, "batch_size": 8, "grad_accumulation": 4, "gpus": 1, "epochs": 1,
    "learning_rate": 2.0e-4,
    "warmup_ratio": 0.1, "gradient_checkpointing": True, "seed": 42, "save_steps": 1000,
    "save_total_limit": 1, "checkpoint": "last",
    "logging_steps": 1, "kernels": "fast", "base_precision": "bf16", "memory": "auto",
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
COLUMNS = [
    "name",
    "tokens_per_second",
    "seconds_a_step",
    "peak_gib",
    "mfu",
    "watts",
    "first_step_after_start_seconds",
]


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
    program = command(args, name, folder, settings)
    wall, status, text = run_to_steps(program, folder, steps if dialogues else None)
    print(f"--- {name}: status {status}\n{text[-4000:] if status else ''}", flush=True)
    (line_file,) = folder.glob("state/*/steps.jsonl")
    lines = list(read_jsonl(line_file))
    for line in lines:
        print(json.dumps(line), flush=True)
    return {
        "name": name,
        "dialogues": dialogues,
        "gpus": settings["gpus"],
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
