"""Write a blind sheet for people: replies of base and tuned in random order, for two raters or
more.

Reads   the replies of a run and of its base, by the records of their scores; config/rubrics/
Writes  results/raters/RUN/send/: sheet.html and a CSV a rater, either of which can be filled in;
        results/raters/RUN/key.json, which says what is which and stays here; a record
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.code import SCRIPTS
from mindtune.config_errors import nearest
from mindtune.evaluate.rating_page import page
from mindtune.evaluate.rating_sheet import blinded, drawn, make_key, pairs_of
from mindtune.evaluate.rubrics import Rubric, read_rubric, rubric_files
from mindtune.evaluate.scoring import read_by_id
from mindtune.evaluate.sheet_csv import empty_sheet
from mindtune.provenance import hash_inputs, read_record
from mindtune.records import partial_folder, write_json, write_record

ROOT = SCRIPTS.parent
PAIRS = 50
RATERS = range(2, 21)


def replies_of(run_name: str, suite: str) -> list[Path]:
    """The replies of base and tuned that a run's scores were made from, and their records."""
    scores = Path("results/runs", run_name, "scores", f"{suite}.json")
    if not scores.is_file():
        raise UserError(
            f"{scores} is not there: the run {run_name} has no scored replies to {suite}; make it "
            f"first (snakemake {scores}), or correct RUN or RUBRICS"
        )
    inputs = read_record(scores)["inputs"]
    found = [path for path in inputs if "/replies/" in path and path.endswith(".jsonl")]
    return [Path(path) for path in sorted(found)]  # results/base comes before results/runs


def rubrics_of(names: list[str]) -> list[Rubric]:
    """The rubrics of these names."""
    files = rubric_files(ROOT / "config/rubrics")
    for name in names:
        if name not in files:
            raise UserError(
                f"RUBRICS names {name!r}, and there is no config/rubrics/{name}.yaml; the nearest "
                f"is {nearest(name, files)}"
            )
    rubrics = [read_rubric(files[name], ROOT) for name in names]
    for rubric in rubrics:
        if rubric.of_talks:
            raise UserError(
                f"RUBRICS names {rubric.name}, which is of whole conversations, and a sheet shows "
                "single replies; leave it out"
            )
    return rubrics


def make_sheet(args: argparse.Namespace) -> dict[str, Any]:
    """The key of a new sheet."""
    rubrics = rubrics_of(args.rubrics)
    inputs, pairs = {}, []
    for suite in sorted({suite for rubric in rubrics for suite in rubric.suites}):
        paths = replies_of(args.run, suite)
        inputs |= hash_inputs(paths, [path.with_suffix(".json") for path in paths])
        pairs += pairs_of(suite, *map(read_by_id, paths), rubrics)
    wanted = min(PAIRS, len(pairs)) if args.pairs is None else args.pairs
    if not 0 < wanted <= len(pairs):
        raise UserError(
            f"PAIRS is {wanted}, and {len(pairs)} pairs of replies can be shown; give 1 to "
            f"{len(pairs)}"
        )
    rows = blinded(drawn(pairs, wanted, args.seed), args.seed)
    about = {"run": args.run, "seed": args.seed, "raters": args.raters, "replies": inputs}
    return make_key(rows, rubrics, about)


def write(key: dict[str, Any], folder: Path) -> None:
    """Write what is sent, the key, and the record."""
    pages = {"sheet.html": page(key)}
    pages |= {f"{rater}.csv": empty_sheet(key, rater) for rater in key["raters"]}
    with partial_folder(folder / "send") as partial:
        for name, text in pages.items():
            (partial / name).write_bytes(text.encode())
    write_json(folder / "key.json", key)
    write_record(
        folder / "blind_sheet.json",
        "blind_sheet",
        inputs=key["replies"],
        outputs=[folder / "key.json", folder / "send"],
        params={name: key[name] for name in ("run", "seed", "raters")},
        facts={
            "sheet": key["sheet"],
            "pairs": len(key["hidden"]) // 2,
            "questions": sorted(key["good"]),
            "page_bytes": len(pages["sheet.html"].encode()),
        },
        packages=["jinja2"],
    )


def parse_args() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--workdir", required=True, type=Path)
    parser.add_argument("--run", required=True, help="whose replies stand beside the base's")
    parser.add_argument("--rubrics", required=True, nargs="+", help="by their names")
    parser.add_argument("--pairs", type=int, help=f"default: {PAIRS}, or all if there are fewer")
    parser.add_argument("--raters", type=int, default=2)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    if args.raters not in RATERS:
        raise UserError(f"RATERS is {args.raters}; expected {RATERS[0]} to {RATERS[-1]}")
    return args


def main() -> None:
    args = parse_args()
    os.umask(0o077)  # dialogues are personal
    os.chdir(args.workdir)
    folder = Path("results/raters", args.run)
    key = make_sheet(args)
    if (folder / "key.json").exists():
        raise UserError(
            f"{args.workdir / folder}/key.json is there already, and without it no sheet that was "
            f"sent can be read; move {args.workdir / folder} away if you want another sheet"
        )
    write(key, folder)
    pairs, place = len(key["hidden"]) // 2, args.workdir / folder
    print(f"{pairs} pairs and {len(key['good'])} questions in sheet {key['sheet']}")
    print(f"send one of these to each rater: {place}/send/ (sheet.html, or r1.csv ...)")
    print(f"keep {place}/key.json, and show it to no rater")


if __name__ == "__main__":
    raise SystemExit(run(main))
