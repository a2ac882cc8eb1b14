"""What Snakemake knows of how results were made, kept beside them: a copy of results/ without
.snakemake/ would else be made anew, or be taken for whatever the configuration says now.

Written at the end of every start, read by scripts/tools/adopt.py. Of Snakemake 9.27.1's metadata
(persistence/file.py) all is kept that a plan compares, and nothing that names a place on this
machine.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.records import read_json, sha256_file, write_json

METADATA = Path(".snakemake/metadata")
# list_files leaves out what begins like this
KEPT = Path("results/.snakemake_made.json")
COMPARED = ("code", "input", "input_checksums", "params", "record_format_version", "rule",
            "software_stack_hash")  # fmt: skip
PART = 254  # characters of a file name, one less than a file system takes


def metadata_path(output: str) -> Path:
    """Where Snakemake keeps what it knows of an output: its name in base64, long ones in parts."""
    name = urlsafe_b64encode(output.encode()).decode()
    parts = [name[start : start + PART] for start in range(0, len(name), PART)]
    return METADATA.joinpath(*("@" + part for part in parts[:-1]), parts[-1])


def output_of(path: Path) -> str:
    """The output that a file of Snakemake's metadata is about."""
    parts = path.relative_to(METADATA).parts
    return urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode()


def keep_made() -> None:
    """Write down how everything below results/ was made, and which records say so."""
    made = {}
    for path in sorted(METADATA.rglob("*")):
        if path.is_file() and (output := output_of(path)).startswith("results/"):
            known = json.loads(path.read_text(encoding="utf-8"))
            if Path(output).exists():
                made[output] = {key: known.get(key) for key in COMPARED} | digest(output)
    if made:
        write_json(KEPT, made)


def digest(output: str) -> dict[str, str]:
    """The hash of a record, by which a later one, or none, is told from it."""
    known = output.endswith(".json") and Path(output).is_file()
    return {"sha256": sha256_file(output)} if known else {}


def read_made() -> dict[str, dict[str, Any]]:
    """{output: how it was made} of all results here; empty if nothing was kept."""
    return read_json(KEPT) if KEPT.is_file() else {}


def not_kept(outputs: Mapping[str, str], made: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those of the results, {path: record that names it}, of which nothing is known, or whose
    record was written since.
    """
    stale = {name for name in made if digest(name).get("sha256") != made[name].get("sha256")}
    return sorted(
        path for path, record in outputs.items() if path not in made or {path, record} & stale
    )


def restore(made: Mapping[str, Mapping[str, Any]]) -> None:
    """Let Snakemake know how results were made that it knows nothing of."""
    for output, known in made.items():
        path = metadata_path(output)
        if Path(output).exists() and not path.exists():
            write_json(path, {key: known[key] for key in COMPARED} | {"incomplete": False})
