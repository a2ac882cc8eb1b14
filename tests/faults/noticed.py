"""Change and delete every result of a finished demo, one at a time, and write down who notices: a
plain rerun, or only make audit.

Reads   the working directory of a finished demo, in which every file is put back as it was
Writes  docs/audit.md
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/workflow")]

from mindtune.audit.folder import RESULTS, WRONG, audit, find_records  # noqa: E402
from mindtune.audit.hashing import Hasher  # noqa: E402
from mindtune.cli import UserError, run  # noqa: E402
from mindtune.records import list_files, to_json, write_text  # noqa: E402
from planning import snakemake  # noqa: E402

HEAD = """# What a rerun notices, and what only `make audit` does

Snakemake runs again what its inputs, parameters or code ask for. It does not look at results that
nothing asks it for, nor into folders. So a result that was changed or deleted by hand may stay
unnoticed until something reads it. Two things stand against that:

- **Every program compares what it reads with its producer's record** (`--made-by`) and stops with one sentence if they differ: a base
  or an adapter that changed after the training is not merged, edited replies are not scored, an edited record is not read at all.
- **`make audit [WORKDIR=.] [QUICK=1]`** hashes everything that the records name, and compares the records with each other. It says of
  each path `as recorded`, `changed`, `missing`, `stale` (it was made from something else than is there now) or `unknown` (no record
  names it), and ends with status 0 only if all is as recorded. `not here` is a source outside results/ that this machine does not
  have, and of which nothing is said. With QUICK=1 a file is read only if its size or its times of change are not those of the audit
  before: that does not see a disk that rots, nor somebody who sets the clock back.

At its start Snakemake also names results that are missing although later ones were made from them;
it makes them anew when they are asked for by name. To have a run made anew, delete its folder, or a
file and its record.

Results that were copied without Snakemake's own folder (`.snakemake`) look unmade, or made as the configuration says now.
`make adopt WORKDIR=DIR` takes them up: it hashes everything as the audit does and stops at the first file that is not as recorded;
then a plan compares them with the configuration as where they were made (`results/.snakemake_made.json`, written by every start).

A record carries a seal, the SHA-256 of what it says. That finds an edit; it is no signature: whoever changes a file, its record and
every record after it, seals included, passes. Only `export.signing_key` stands against that, for the export.

The table is from a finished demo: each path was changed (one byte; of a folder, in its largest
file; of a record, a fact more) and deleted, alone, then `snakemake -n` and `make audit` were asked.
Written by `tests/faults/noticed.py`.

| result | changed: a rerun plans | changed: audit says | deleted: a rerun plans | deleted: audit says |
|---|---|---|---|---|
"""  # noqa: E501  a table has a row a line


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A copy of a file or folder, which takes the path's place again after the block, with its
    times.
    """
    with tempfile.TemporaryDirectory(dir=RESULTS.resolve().parent) as folder:
        kept = Path(folder) / path.name
        os.rename(path, kept)
        try:
            if kept.is_dir():
                shutil.copytree(kept, path, copy_function=shutil.copy2)
            else:
                shutil.copy2(kept, path)
            yield path
        finally:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            os.rename(kept, path)


def change(path: Path, is_record: bool) -> None:
    """One byte of a file, or of a folder's largest file, in place; a record gets a fact more."""
    if is_record:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["facts"]["edited"] = True
        path.write_text(to_json(record) + "\n", encoding="utf-8")
        return
    if path.is_dir():
        path = max((path / name for name in list_files(path)), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes() or b"\n")
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete(path: Path, _: bool) -> None:
    """Take a file or a folder away."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def rerun(config: Path) -> str:
    """What a plain rerun would do: the number of its jobs, a sentence with which it stops, a
    warning, or nothing.
    """
    words = [
        "--snakefile",
        ROOT / "Snakefile",
        "--directory",
        Path.cwd(),
        "--configfile",
        config,
        "--cores",
        "2",
        "--dry-run",
        "all",
    ]
    status, output = snakemake(*map(str, words))
    if status:
        return "stops and says why"
    jobs = [line.split()[1] for line in output.splitlines() if line.startswith("total ")]
    warned = ", and says that it is missing" if " is missing, and " in output else ""
    return f"{jobs[0]} jobs{warned}" if jobs else (f"nothing{warned}" if warned else "**nothing**")


def audited(path: str, known: dict) -> str:
    """What the audit says of the path, or of the first path that is not as recorded."""
    try:
        wrong = [
            finding
            for finding in audit(find_records(), Hasher(known=known))
            if finding.status in WRONG
        ]
    except UserError:
        return "stops and says why"
    if not wrong:
        return "**nothing**"
    first = min(wrong, key=lambda finding: finding.path != path)
    return (
        first.status
        if first.path == path
        else f"{first.status}: `{first.path.removeprefix('results/')}`"
    )


def row(path: str, is_record: bool, known: dict, config: Path) -> str:
    """A row of the table."""
    cells = [f"`{path.removeprefix('results/')}`"]
    for damage in (change, delete):
        with aside(Path(path)) as copy:
            damage(copy, is_record)
            cells += [rerun(config), audited(path, known)]
    print(" | ".join(cells), flush=True)
    return "| " + " | ".join(cells) + " |\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workdir", type=Path, required=True, help="working directory of a finished demo"
    )
    parser.add_argument(
        "--run", default="main", help="of the runs, the one whose results are tried"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "docs/audit.md")
    args = parser.parse_args()
    page = args.page.resolve()
    os.chdir(args.workdir)
    config, hasher, records = ROOT / "config/demo.yaml", Hasher(), find_records()
    findings = [finding for finding in audit(records, hasher) if finding.status in WRONG]
    if findings or (plan := rerun(config)) != "**nothing**":
        raise UserError(
            f"{args.workdir} is no finished demo (first: {findings[0] if findings else plan}); run "
            f"the demo there first"
        )
    paths = {
        *records,
        *(
            path
            for record in records.values()
            for path in record["outputs"]
            if os.path.exists(path)
        ),
    }
    tried = sorted(
        path
        for path in paths
        if not path.startswith("results/runs/") or path.startswith(f"results/runs/{args.run}/")
    )
    write_text(
        page, HEAD + "".join(row(path, path in records, hasher.found, config) for path in tried)
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
