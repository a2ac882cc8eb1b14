"""Erase a dialogue by its id: from everything that the working directory holds, and from all that
is made there again.

Writes the row's SHA-256 into the list of erased rows, which fetching honours, and then removes
every output that holds the row, with its record; a rerun makes it again without the row. Says
which models were trained on it, and who else still holds it.

Reads   results/data/DATASET/, and every file of the working directory
Writes  the list of erased rows; removes files below results/, state/, logs/, .cache/ and
        .snakemake/
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.data.contents import contents
from mindtune.data.readers import parse
from mindtune.erased import read_erased, row_digest
from mindtune.records import read_json, read_jsonl, remove
from show_row import find, raw_row

PLACES = ("results", "state", "logs", "benchmarks", ".cache", ".snakemake")
# Shorter turns ("好的。") stand in other people's dialogues too
SHORTEST = 12
SIDES = ("train", "dev")  # what a run learns from, and what chooses its checkpoint
# Outputs that are one folder, in results/KIND/NAME: who removes a file of one removes it all
FOLDERS = ("cached", "raw", "figures")
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a row's JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)


def with_copies(data: Path, identity: str) -> tuple[list[dict], list[dict], set[str]]:
    """The kept and the rejected rows of an id and of its copies, and all their ids."""
    ids, rows = {identity}, {}
    while fresh := ids - rows.keys():
        for name in sorted(fresh):
            kept, rejected = (find(data / f"{file}.jsonl", name) for file in ("clean", "rejected"))
            rows[name] = (kept, rejected)
            ids |= {row["copy_of"] for row in rejected if "copy_of" in row}
            ids |= {row["id"] for row in copies_of(data / "rejected.jsonl", name)}
    found = [rows[name] for name in sorted(rows)]
    kept, rejected = (sum((pair[side] for pair in found), []) for side in (0, 1))
    return kept, rejected, ids


def copies_of(path: Path, identity: str) -> list[dict[str, Any]]:
    """The rejected rows that are copies of a row."""
    rows = read_jsonl(path) if path.is_file() else ()
    return [row for row in rows if row.get("copy_of") == identity]


def needles(ids: Iterable[str], rows: Iterable[Any]) -> set[bytes]:
    """What a file that holds the rows has in it: an id in quotes, and lines of their turns, plain
    and as JSON writes them.
    """
    lines = {line.strip() for row in rows for text in texts_of(row) for line in text.splitlines()}
    found = {
        json.dumps(name, ensure_ascii=ascii).encode() for name in ids for ascii in (True, False)
    }
    for line in lines:
        if len(line) >= SHORTEST:
            found |= {line.encode()}
            found |= {
                json.dumps(line, ensure_ascii=plain)[1:-1].encode() for plain in (True, False)
            }
    return found


def holders(workdir: Path, found: set[bytes]) -> list[Path]:
    """Files of the working directory with one of these texts in them, and of a folder that is one
    output all.
    """
    held = set()
    for path in (path for place in PLACES for path in sorted((workdir / place).rglob("*"))):
        if path.is_symlink() or not path.is_file() or path.suffix in WEIGHTS:
            continue
        if any(content.find(text) != -1 for content in contents(path) for text in found):
            held.add(unit_of(path.relative_to(workdir), workdir))
    return sorted(held)


def unit_of(name: Path, workdir: Path) -> Path:
    """A file of the working directory, or the output that is one folder and holds it."""
    kind = name.parts[:4]
    whole = len(name.parts) > 4 and kind[0] == "results" and kind[3] in FOLDERS
    return workdir.joinpath(*kind) if whole else workdir / name


def records_of(workdir: Path, removed: Iterable[Path]) -> list[Path]:
    """The records that name one of the removed files as an output."""
    gone = {path.relative_to(workdir).as_posix() for path in removed}
    found = []
    for path in sorted((workdir / "results").rglob("*.json")):
        record = read_json(path)
        outputs = record.get("outputs") if isinstance(record, dict) else None
        if isinstance(outputs, dict) and gone & outputs.keys():
            found.append(path)
    return found


def trained(workdir: Path, dataset: str, kept: list[dict[str, Any]]) -> list[str]:
    """The runs whose weights saw the row, or were chosen by it."""
    data = workdir / "results/data" / dataset
    if not any(find(data / f"{side}.jsonl", row["id"]) for side in SIDES for row in kept):
        return []
    records = sorted((workdir / "results/runs").glob("*/order_dialogues.json"))
    cached = f"results/data/{dataset}/cached"
    return [record.parent.name for record in records if cached in read_json(record)["inputs"]]


def add_to_list(path: Path, dataset: str, digests: Iterable[str]) -> None:
    """Note the rows, before anything is removed: whatever stops this program, no rerun brings them
    back.
    """
    fresh = [
        digest
        for digest in sorted(set(digests))
        if digest not in read_erased(path).get(dataset, ())
    ]
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(f"{dataset} {digest}\n" for digest in fresh)


def remove_all(workdir: Path, data: Path, held: list[Path]) -> None:
    """Remove files and their records; what tells where a row stands goes last, so that a call that
    was stopped can be made again.
    """
    for path in sorted(
        [*records_of(workdir, held), *held], key=lambda path: (data in path.parents, path)
    ):
        remove(path)
        print(f"removed   {path}")


def erase(workdir: Path, dataset: str, identity: str, listed: Path) -> None:
    """List a row and its copies, remove what holds them, and say what no program can undo."""
    data = workdir / "results/data" / dataset
    kept, rejected, ids = with_copies(data, identity)
    if not kept + rejected:
        raise UserError(
            f"{data} has no row with the id {identity!r} in clean.jsonl or rejected.jsonl; correct "
            f"ID, DATASET or WORKDIR, or make these files first (make demo) if an earlier row took "
            f"them along"
        )
    sources = sorted({row["source"] for row in kept + rejected})
    runs, origin = trained(workdir, dataset, kept), read_json(data / "fetch_dataset.json")["params"]
    fields = origin.get("fields", {})
    raw = [raw_row(data / "raw", source, fields) for source in sources]
    add_to_list(listed, dataset, (row_digest(row.data) for _, row in raw))
    print(f"listed    {listed}: a rerun makes everything again without the row")
    rows = [*kept, *rejected, *(parse(row, file) for file, row in raw)]
    remove_all(workdir, data, holders(workdir, needles(ids, rows)))
    for name in runs:
        print(
            f"trained   run {name} learned from it: results/runs/{name}, its export and state/ "
            f"hold weights that did; use none of them, a rerun trains them again"
        )
    where = (
        origin["path"] if origin["source"] == "local" else f"{origin['id']} on {origin['source']}"
    )
    print(
        f"left      the source, {where} ({', '.join(map(repr, sources))}), its other copies and "
        f"downloads, and what was given away: ask for the row's removal there"
    )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--list", type=Path, required=True, help="the list of erased rows")
    arguments = parser.parse_args()
    if any((arguments.workdir / ".snakemake/locks").glob("*")):
        raise UserError(
            f"{arguments.workdir} is locked by a running Snakemake; erase when it has ended"
        )
    erase(arguments.workdir, arguments.dataset, arguments.id, arguments.list)


if __name__ == "__main__":
    raise SystemExit(run(main))
