"""What a base in FP8 changes in a training: the same steps beside a base in bf16, from the same
start, for several seeds.

Reads   a base model folder, dialogues to train on and others to measure with (as clean.jsonl)
Writes  a record: dev losses of every run, also of an FP8 run's adapter beside the base in bf16,
        where it is merged; the KL divergence between the two; the spread over seeds
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import head
from mindtune.cli import argument_parser, run
from mindtune.records import write_json
from mindtune.safe_loading import load_tokenizer


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--dialogues", required=True, type=Path)
    parser.add_argument("--dev", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=1024, help="tokens of a sequence")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--note", default="")
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from bench.fp8_runs import adapted, measured, one_seed, sequences

    tokenizer = load_tokenizer(args.model)
    data = sequences(tokenizer, args.dialogues, args.length)
    dev = sequences(tokenizer, args.dev, args.length)[:64]
    start = measured(adapted(args.model, 0, False), dev)["loss"]
    runs = []
    for seed in args.seeds:  # each written at once: a card's time may end
        runs.append(one_seed(args, data, dev, seed))
        write_record(args, runs, start)


def write_record(args: argparse.Namespace, runs: list[dict[str, Any]], start: float) -> None:
    """The seeds so far."""
    plain, eight = ([found[name]["dev"] for found in runs] for name in ("bf16", "fp8"))
    difference = statistics.mean(eight) - statistics.mean(plain)
    spread = max(plain) - min(plain)
    write_json(
        args.record,
        head("A base in FP8 beside one in bf16", "scripts/bench/bench_fp8.py", ["torch", "peft"])
        | {
            "steps": args.steps,
            "tokens_a_step": args.batch * args.length,
            "dev_loss_at_the_start": start,
            "runs": runs,
            "median": {"dev_loss_difference": difference},
            "target": {"dev_loss_difference": spread},
            "met": {"dev_loss_difference": len(runs) > 2 and abs(difference) < spread},
            "note": args.note,
        },
    )
    print(
        f"{len(runs)} seeds, dev loss: fp8 - bf16 = {difference:.4f}, spread {spread:.4f}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
