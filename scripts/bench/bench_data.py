"""Time the data stage on large corpora made from real dialogues, against the tools that others use.

Reads   ShareGPT files of real dialogues (--sharegpt), a tokenizer folder; peers from a Python with
        them installed (--peers)
Writes  docs/records/data-stage.json, data-near-duplicates.json, data-tokens.json, data-leaks.json,
        data-worst-input.json

The corpora lie in a scratch folder that is removed afterwards. Peers are measured on the same rows
in the same run.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench import corpus as bench_corpus
from bench import leaks
from bench.data_speed import measure_near, measure_tokens
from bench.data_stage import measure_stage, settings
from bench.worst_input import measure_worst
from mindtune.cli import UserError, argument_parser, run
from mindtune.records import write_json

PARTS = ("tokens", "near", "stage", "leaks", "worst")


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--sharegpt",
        type=Path,
        required=True,
        help="folder of ShareGPT JSONL files of real dialogues",
    )
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, required=True)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        required=True,
        help="dialogues of the stage's corpora, ascending",
    )
    parser.add_argument(
        "--near-size", type=int, required=True, help="dialogues of the near-duplicate comparison"
    )
    parser.add_argument(
        "--peers", default="", help="Python of an environment with convmerge[quality] and datatrove"
    )
    parser.add_argument("--records", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    files = sorted(arguments.sharegpt.glob("*.jsonl"))
    if not files:
        raise UserError(
            f"--sharegpt: {arguments.sharegpt} holds no .jsonl file; give a folder of ShareGPT "
            f"dialogues"
        )
    pool = bench_corpus.read_pool(files)
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        if "tokens" in arguments.parts:
            write_json(
                arguments.records / "data-tokens.json",
                measure_tokens(scratch, pool, arguments.tokenizer),
            )
        if "near" in arguments.parts:
            near = measure_near(arguments.near_size, scratch, pool, arguments.peers)
            write_json(arguments.records / "data-near-duplicates.json", near)
        if "leaks" in arguments.parts:
            write_json(arguments.records / "data-leaks.json", leaks.measure_real(files))
        if "worst" in arguments.parts:
            clean, _ = settings()
            write_json(
                arguments.records / "data-worst-input.json",
                measure_worst(clean, arguments.tokenizer),
            )
        if "stage" in arguments.parts:
            found = measure_stage(arguments.sizes, scratch, pool, arguments.tokenizer)
            write_json(arguments.records / "data-stage.json", found)


if __name__ == "__main__":
    raise SystemExit(run(main))
