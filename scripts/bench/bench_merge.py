"""Measure the merge against the alternatives: a copy of the base, peft, and ms-swift's own export,
in interleaved rounds.

Every way ends with its bytes on the disk (`sync`) and is timed from the start of its process to
that. Peak memory is sampled over its processes together (it counts mapped pages of files, which
the kernel can drop). Run with the interpreter of the train environment.

Reads   base and adapter folders
Writes  the record, and the last folder that merge_adapter.py made, if it is to be kept; the others
        are removed
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import meets, timed, write_measurement
from mindtune.cli import argument_parser, run
from mindtune.model_shape import weight_bytes
from mindtune.records import remove

TARGETS = {"times_copy": 2.2, "times_faster_than_peft": 2.5, "peak_gb": 6.0}
PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, out, shard = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
merged.save_pretrained(out, max_shard_size=shard)
"""


def commands(args: argparse.Namespace, out: Path) -> dict[str, list[str]]:
    """The command of each way to get merged weights, or as many bytes, into `out`."""
    base, adapter, python = str(args.base), str(args.adapter), sys.executable
    settings = json.dumps({"dtype": "bfloat16", "max_shard_size": args.max_shard_size})
    ours = [
        python,
        str(Path(__file__).resolve().parents[1] / "merge_adapter.py"),
        "--base",
        base,
        "--adapter",
        adapter,
    ]
    ours += ["--threads", str(args.threads)]
    swift = [
        python,
        "-m",
        "swift.cli.export",
        "--model",
        base,
        "--adapters",
        adapter,
        "--merge_lora",
        "true",
    ]
    swift += ["--model_type", "qwen2", "--template", "qwen2_5", "--torch_dtype", "bfloat16"]
    return {
        "copy": ["cp", "-r", base, str(out)],
        "merge_adapter": [
            *ours,
            "--settings",
            settings,
            "--merged",
            str(out),
            "--record",
            str(out) + ".json",
        ],
        "peft": [python, "-c", PEFT, base, adapter, str(out), args.max_shard_size],
        "swift": [*swift, "--max_shard_size", args.max_shard_size, "--output_dir", str(out)],
    }


def to_disk(command: list[str], log: Path) -> dict[str, float]:
    """Seconds until the command's bytes are on the disk, those its processors worked, and peak
    memory in GB; else a UserError.
    """
    os.sync()
    start = time.perf_counter()
    found = timed(command, log)
    os.sync()
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": found["cpu_s"],
        "peak_gb": round(found["gb"], 2),
    }


def keep(out: Path, folder: Path) -> None:
    """Move a merged folder and its record out of the way of the next run."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    out.rename(folder)
    Path(f"{out}.json").rename(folder.with_name("merge_adapter.json"))


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of each way, and the ratios that there are targets for."""
    ways = {
        name: {
            key: round(statistics.median(run[name][key] for run in runs), 2)
            for key in runs[0][name]
        }
        for name in runs[0]
    }
    ours = ways["merge_adapter"]
    ratios = {
        "times_copy": round(ours["seconds"] / ways["copy"]["seconds"], 2),
        "peak_gb": ours["peak_gb"],
    }
    for name in ("peft", "swift"):
        if name in ways:
            ratios[f"times_faster_than_{name}"] = round(ways[name]["seconds"] / ours["seconds"], 2)
    return {**ways, **ratios}


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--base", required=True, type=Path)
    parser.add_argument("--adapter", required=True, type=Path)
    parser.add_argument("--max-shard-size", required=True)
    parser.add_argument("--work", required=True, type=Path, help="folder on the disk to measure")
    parser.add_argument(
        "--ways", required=True, nargs="+", choices=("copy", "merge_adapter", "peft", "swift")
    )
    parser.add_argument("--rounds", required=True, type=int)
    parser.add_argument("--threads", required=True, type=int, help="processes of merge_adapter.py")
    parser.add_argument("--note", default="")
    parser.add_argument(
        "--keep", type=Path, help="where merge_adapter.py's last folder goes, with its record"
    )
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    out, log = args.work / "out", args.work / "bench_merge.log"
    weights = weight_bytes(args.base)
    runs: list[dict[str, Any]] = []
    for number in range(args.rounds):
        runs.append({})
        for way in args.ways:
            remove(out)
            runs[-1][way] = to_disk(commands(args, out)[way], log)
            print(f"round {number + 1}, {way}: {runs[-1][way]}", flush=True)
            if args.keep and way == "merge_adapter" and number == args.rounds - 1:
                keep(out, args.keep)
    remove(out)
    median = summarise(runs)
    write_measurement(
        args.record,
        f"merge of {weights / 1e9:.1f} GB of weights",
        packages=["ms-swift", "peft", "safetensors", "torch", "transformers"],
        runs=runs,
        median={"weight_gb": round(weights / 1e9, 2), **median},
        target=TARGETS,
        met=meets(median, TARGETS, ["times_faster_than_peft"]),
        note=args.note,
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
