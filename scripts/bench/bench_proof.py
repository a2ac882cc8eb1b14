"""Measure the proof of the logits on right and on wrong merges: how often it refuses the ones and
lets the others pass.

All merges are made in memory (mindtune.wrong_merges), so nothing but the record is written. A
model is a folder, or one of the SHAPES with random weights. Each adapter of random values has a
size of its own (root mean square of B; training at 2e-4 leaves
0.0005 to 0.005), each check its own draw of dialogues. Run with the interpreter of the train
environment.

Reads   models, trained adapters, dialogues (clean ShareGPT JSONL), a tokenizer folder for the
        shapes
Writes  the record
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import command, head
from bench.proof_checks import measure
from bench.proof_table import COLUMNS, false_rates, table
from bench.random_models import SHAPES
from mindtune.cli import argument_parser, run
from mindtune.records import write_json


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--models", required=True, nargs="+", help=f"NAME=FOLDER or one of {', '.join(SHAPES)}"
    )
    parser.add_argument(
        "--adapters",
        nargs="*",
        default=[],
        help="NAME=FOLDER: a trained adapter for the model NAME",
    )
    parser.add_argument(
        "--tokenizer", type=Path, help="folder with Qwen2.5's tokenizer, for the shapes"
    )
    parser.add_argument("--prompts", required=True, type=Path, help="clean dialogues (JSONL)")
    parser.add_argument("--n-prompts", type=int, default=8)
    parser.add_argument("--max-prompt-tokens", type=int, default=256)
    parser.add_argument(
        "--sizes",
        type=float,
        nargs="+",
        default=[0.0005, 0.005, 0.02],
        help="root mean squares of B",
    )
    parser.add_argument("--seeds", type=int, default=2, help="adapters of each size")
    parser.add_argument(
        "--bounds",
        required=True,
        type=json.loads,
        help="JSON: the bounds of `verify` in the config",
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--note", default="")
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch

    torch.set_num_threads(args.threads)
    trained = dict(word.split("=", 1) for word in args.adapters)
    checks = []
    for model in args.models:
        label, _, word = model.rpartition("=")
        checks += measure(label or word, word, trained.get(label, ""), args)
    record = head(
        "the proof of the logits on right and wrong merges",
        command(),
        ["peft", "torch", "transformers"],
    )
    summary = {"median": false_rates(checks), "target": args.bounds, "met": None, "note": args.note}
    write_json(args.record, {**record, "columns": COLUMNS, "runs": table(checks), **summary})


if __name__ == "__main__":
    raise SystemExit(run(main))
