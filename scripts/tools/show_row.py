"""Show what happened to one row: every cleaning step before and after, the verdict, its side of
the split.

Reads the raw row again and cleans it with the settings of the record; compares the outcome with
what was written. Reads results/data/DATASET/ and results/base/tokenizer of a working directory.
Writes nothing.
"""

import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.data import readers
from mindtune.data.readers import RawRow
from mindtune.data.row_cleaning import Chunk, Worker
from mindtune.provenance import read_record

SIDES = ("train", "dev", "test")
Turns = list[tuple[str, str]]


def find(path: Path, identity: str) -> list[dict[str, Any]]:
    """The rows of a JSONL file with this id, or that are parts of the row with this id."""
    if not path.is_file():
        return []
    with path.open("rb") as stream:
        rows = (
            orjson.loads(line) for line in stream if identity.encode() in line or b"\\u" in line
        )
        return [
            row for row in rows if row["id"] == identity or row["id"].rpartition("/")[0] == identity
        ]


def raw_row(folder: Path, source: str, fields: dict[str, str]) -> tuple[str, RawRow]:
    """The file and the raw row that a source, as in `demo:zh.jsonl#12`, names."""
    file, _, number = source.partition(":")[2].rpartition("#")
    for row in readers.raw_rows(folder, file, fields):
        if row.number == int(number):
            return file, row
    raise UserError(
        f"{folder / file} has no row {number}, which {source} names; fetch and clean the dataset "
        f"again"
    )


def changes(before: Turns, after: Turns) -> Iterator[str]:
    """The turns that differ, as removed and added lines."""
    lines = [[f"{role}: {text!r}" for role, text in turns] for turns in (before, after)]
    for line in difflib.ndiff(*lines):
        if line[0] in "-+":
            yield f"    {line}"


def steps(worker: Worker, file: str, row: RawRow) -> Iterator[str]:
    """The story of a row: as read, each step that changed it, and the reasons against it."""
    seen: list[tuple[str, Turns]] = []
    outcome, cleaned = worker.clean_row(
        row, file, watch=lambda name, turns: seen.append((name, list(turns)))
    )
    yield (
        f"read      {readers.where(file, row.number, row.byte)}, {len(row.data):,} bytes, form "
        f"{outcome.form or 'unknown'}"
    )
    before = worker.read(row, file) or []
    yield from (f"      {role}: {text!r}" for role, text in before)
    for name, turns in seen:
        yield f"step      {name}"
        yield from changes(before, turns)
        before = turns
    if not seen:
        yield "step      none changed it"
    for reason in cleaned.reasons or outcome.reasons:
        yield f"reject    {reason}"


def verdict(
    kept: list[dict[str, Any]], rejected: list[dict[str, Any]], data: Path
) -> Iterator[str]:
    """What was decided where all rows are known, and where the row went."""
    for row in rejected:
        copy = f", a copy of {row['copy_of']}" if "copy_of" in row else ""
        yield f"rejected  {', '.join(row['reasons'])}{copy}"
    for row in kept:
        sides = [
            side
            for side in SIDES
            if any(found["id"] == row["id"] for found in find(data / f"{side}.jsonl", row["id"]))
        ]
        hits = [
            hit for hit in find(data / "contamination.jsonl", row["id"]) if hit["id"] == row["id"]
        ]
        yield (
            f"kept      {row['id']}: {len(row['conversations'])} turns, "
            f"{sides[0] if sides else 'on no side'}"
        )
        for hit in hits:
            yield (
                f"held out  turn {hit['turn']} holds {hit['held_out']} by the rule {hit['rule']} "
                f"(overlap {hit['overlap']}, similarity {hit['similarity']}, {hit['rare']} rare "
                f"n-grams): {hit['passage']}"
            )


def check(kept: list[dict[str, Any]], replayed: list[bytes]) -> str:
    """Whether cleaning the raw row again gives what was written."""
    written = [row["conversations"] for row in kept]
    same = not written or written == [orjson.loads(part) for part in replayed]
    return (
        "replay    equals what was written"
        if same
        else "replay    DIFFERS from what was written: code or settings changed since"
    )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--workdir", type=Path, required=True, help="working directory of a run, such as demo"
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--hotlines", type=Path, required=True)
    arguments = parser.parse_args()
    data = arguments.workdir / "results/data" / arguments.dataset
    record = data / "clean_dialogues.json"
    if not record.is_file():
        raise UserError(
            f"{record} is missing; clean the dataset first, or name another WORKDIR or DATASET"
        )
    settings = read_record(record)["params"]
    kept, rejected = (
        find(data / "clean.jsonl", arguments.id),
        find(data / "rejected.jsonl", arguments.id),
    )
    if not kept + rejected:
        raise UserError(
            f"{data} has no row with the id {arguments.id!r}, neither in clean.jsonl nor in "
            f"rejected.jsonl; correct ID"
        )
    file, row = raw_row(data / "raw", (kept + rejected)[0]["source"], settings["fields"])
    worker = Worker(
        settings, str(arguments.workdir / "results/base/tokenizer"), str(arguments.hotlines)
    )
    print("\n".join(steps(worker, file, row)))
    [outcome] = worker.work(Chunk(file, [row]))
    print("\n".join(verdict(kept, rejected, data)))
    if outcome.tokens:
        print(f"tokens    {json.dumps(outcome.tokens)} of {settings['max_tokens']}")
    print(check(kept, outcome.parts))


if __name__ == "__main__":
    raise SystemExit(run(main))
