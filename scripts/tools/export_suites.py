"""Write the suites of a working directory as EvalScope reads them: `make export-suites`.

Choice questions with one answer become `general_mcq`, all other prompts `general_qa` with their
system turn and history, and the counsellor's reply as the answer where there is one. Of each
question the printed order is taken; questions with several answers have no place there.

Reads   results/prompts/DATASET/*.jsonl
Writes  OUT/general_mcq/SUITE_val.jsonl, OUT/general_qa/SUITE.jsonl
"""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate.choice_prompts import OTHER_ORDER
from mindtune.records import read_jsonl, write_jsonl


def choice(row: Mapping[str, Any]) -> dict[str, Any]:
    """A question as a row of general_mcq; the instruction is left to EvalScope's own template."""
    said = row["prompt"][-1]["content"].partition("\n\n")[2]
    question = said.rsplit("\n", len(row["options"]))[0]
    letters = zip("ABCDEFGH", row["options"], strict=False)
    return {"id": row["id"], "question": question, **dict(letters), "answer": row["answer"]}


def open_prompt(row: Mapping[str, Any]) -> dict[str, Any]:
    """A prompt as a row of general_qa."""
    return {"id": row["id"], "messages": row["prompt"], "answer": row.get("reference", "")}


def write_suite(path: Path, out: Path) -> str:
    """Write one suite; returns a sentence with what was written."""
    rows = [row for row in read_jsonl(path) if not row["id"].endswith(OTHER_ORDER)]
    if "options" not in rows[0]:
        count = write_jsonl(out / f"general_qa/{path.stem}.jsonl", map(open_prompt, rows))
        return f"{path.stem}: {count} prompts for general_qa"
    single = [row for row in rows if not row["multiple"]]
    count = write_jsonl(out / f"general_mcq/{path.stem}_val.jsonl", map(choice, single))
    left = f", {len(rows) - count} with several answers left out" if len(rows) > count else ""
    return f"{path.stem}: {count} questions for general_mcq{left}"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--dataset", required=True, help="whose training's system prompt is asked")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    args = parser.parse_args()

    folder = args.workdir / "results/prompts" / args.dataset
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise UserError(
            f"{folder} holds no prompts; make them first (snakemake eval), or correct WORKDIR and "
            "DATASET"
        )
    for path in files:
        print(write_suite(path, args.out))
    for kind in ("general_mcq", "general_qa"):
        names = sorted(path.stem.removesuffix("_val") for path in (args.out / kind).glob("*.jsonl"))
        if names:
            where = {kind: {"local_path": str(args.out / kind), "subset_list": names}}
            words = ["evalscope", "eval", "--datasets", kind, "--dataset-args", json.dumps(where)]
            print(shlex.join(words))


if __name__ == "__main__":
    raise SystemExit(run(main))
