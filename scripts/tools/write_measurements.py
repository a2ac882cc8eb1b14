"""Write docs/measurements.md from the records in docs/records/ and docs/h100/: figures are never
typed.

A record says what was measured, with which command, on which machine, with which versions, on
which date, every run, and the target with whether it was met.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import run
from mindtune.records import read_json, write_text

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Measurements

Written by `scripts/tools/write_measurements.py` from the records in `docs/records/` and `docs/h100/`; a record is written by the command that it
names. A figure of speed holds for its machine and its date.
"""


def show(value: Any) -> str:
    """A value for a table cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {show(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(show(part) for part in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def tables(runs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of a record as tables: a list of rows inside a run becomes a table of its own, with
    the run's name in front.
    """
    head = [{key: value for key, value in run.items() if not is_table(value)} for run in runs]
    inner = [
        [{"of": next(iter(head[at].values()), at + 1)} | row for row in value]
        for at, run in enumerate(runs)
        for value in run.values()
        if is_table(value)
    ]
    return [head, *inner]


def is_table(value: Any) -> bool:
    """Whether a value is a list of rows."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def section(name: str, record: dict[str, Any]) -> str:
    """One record as Markdown: its head, one table of its figures, its note."""
    lines = [f"## {record['what']}", ""]
    lines += [
        f"`{record['command']}` · {show(record['machine'])} · {show(record['versions'])} · "
        f"{record['date']} · `{name}`",
        "",
    ]
    for table in tables(record["runs"]):
        # JSON keeps no order that people would choose, so a record may name the columns that come
        # first
        columns = list(
            dict.fromkeys([*record.get("columns", []), *(key for row in table for key in row)])
        )
        columns = [column for column in columns if any(column in row for row in table)]
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += [
            "| " + " | ".join(show(row.get(column, "")) for column in columns) + " |"
            for row in table
        ]
        lines += [""]
    if record.get("median") is not None:
        lines += ["", f"Median: {show(record['median'])}."]
    if record.get("target"):
        lines += ["", f"Target: {show(record['target'])}. Met: {show(record['met'])}."]
    if record.get("note"):
        lines += ["", record["note"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    records = sorted((ROOT / "docs/records").glob("*.json")) + sorted(
        (ROOT / "docs/h100").glob("*.json")
    )
    # a stage's own record from a run on the card lies there, too: the proof behind a figure, not a
    # figure
    found = [(path.relative_to(ROOT).as_posix(), read_json(path)) for path in records]
    parts = [section(name, record) for name, record in found if "what" in record]
    write_text(ROOT / "docs/measurements.md", HEAD + "\n" + "\n".join(parts))


if __name__ == "__main__":
    raise SystemExit(run(main))
