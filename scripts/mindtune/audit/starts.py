"""What each start worked with, kept beside the results: results/starts/{number}.json.

A stage's record says what went in and came out, and equal runs have equal ones, wherever they ran.
What differs between two such runs stands here: the commit and what was not committed, Snakemake's
version, the machine, the times, the whole resolved configuration; and which records that start
made, by their hashes. Nothing is made from these files, so they let nothing run again.
"""

import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mindtune.audit.code_state import state_of_code
from mindtune.audit.folder import record_of
from mindtune.audit.machine import hardware
from mindtune.made import METADATA, output_of
from mindtune.records import read_json, sha256_file, write_record

FOLDER = Path("results/starts")
STAGE = "start"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def in_order(paths: Iterable[str]) -> list[str]:
    """The records of starts among paths, the first start first. Their numbers decide: as text,
    10000 would come before 9999.
    """
    numbers = {path: Path(path).stem for path in paths if Path(path).parent == FOLDER}
    return sorted((path for path in numbers if numbers[path].isdecimal()), key=number_of)


def number_of(path: str | Path) -> int:
    """The number of a start, by its record's name."""
    return int(Path(path).stem)


def write(path: Path, params: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """The record of a start; nothing that another stage made stands behind it."""
    write_record(path, STAGE, inputs=(), outputs=(), params=params, facts=facts)


def begin(config: Mapping[str, Any], root: Path, snakemake: str) -> Path:
    """Write down a start before its first job, and return its record's path. A start before it
    that was killed is told from its own results first.
    """
    earlier = in_order(path.as_posix() for path in FOLDER.glob("*.json"))
    if earlier and read_json(earlier[-1])["facts"]["ended"] is None:
        end(Path(earlier[-1]), None)
    number = number_of(earlier[-1]) + 1 if earlier else 1
    path = FOLDER / f"{number:04}.json"
    host = {"name": platform.node(), **hardware()}
    facts = {
        "began": now(), "ended": None, "succeeded": None, "made": {},
        "snakemake": snakemake, "host": host, **state_of_code(root),
    }  # fmt: skip
    write(path, config, facts)
    return path


def end(path: Path, succeeded: bool | None) -> None:
    """Add to a start's record what it made: the records of all outputs of which Snakemake took
    note since. `succeeded` is None for a start that was killed, whose end nobody knows.
    """
    record, made = read_json(path), made_since(path)
    ended = now() if succeeded is not None else "unknown"
    facts = record["facts"] | {"ended": ended, "succeeded": succeeded, "made": made}
    write(path, record["params"], facts)


def made_since(path: Path) -> dict[str, str]:
    """{record: SHA-256} of the outputs of which Snakemake took note after a file was written."""
    since = path.stat().st_mtime_ns
    outputs = {
        output_of(note)
        for note in METADATA.rglob("*")
        if note.is_file() and note.stat().st_mtime_ns >= since
    }
    records = {record_of(output) for output in outputs if output.startswith("results/")}
    return {
        name: sha256_file(name)
        for name in sorted(records)
        if name.endswith(".json") and Path(name).is_file()
    }


def starts_of(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """{record: record of the start that made it}, of those that are still as that start left
    them; the last start may still be at work.
    """
    found = {}
    for name in in_order(records):
        facts = records[name]["facts"]
        made = facts["made"] if facts["ended"] else made_since(Path(name))
        for path, digest in made.items():
            if path in records and sha256_file(path) == digest:
                found[path] = name
    return found


def starts_behind(
    records: Mapping[str, Mapping[str, Any]], state: Mapping[str, str]
) -> dict[str, Any]:
    """For an archive: the starts that made its results, what each made, and whether what was not
    committed then is what `state` says of the code now, so that the archive holds its text. No
    machine is named.
    """
    made = starts_of(records)
    patch = state.get("uncommitted_sha256")
    found = {}
    for name in sorted(set(made.values())):
        facts = dict(records[name]["facts"])
        host = {key: value for key, value in facts["host"].items() if key != "name"}
        found[name] = {
            "config": records[name]["params"],
            "facts": facts | {"host": host, "made": sorted(p for p in made if made[p] == name)},
            "uncommitted_is_here": facts.get("uncommitted_sha256") == patch,
        }
    return found


def in_words(name: str, record: Mapping[str, Any]) -> str:
    """One sentence on a start, for people."""
    facts = record["facts"]
    commit = f"commit {facts['commit'][:12]}" if "commit" in facts else "code without a commit"
    patch = facts.get("uncommitted_sha256")
    more = f" with changes that are not committed (SHA-256 {patch[:12]})" if patch else ""
    return (
        f"{name}: {commit}{more}, Snakemake {facts['snakemake']}, "
        f"on {facts['host']['name']} from {facts['began']}"
    )
