"""Write docs/measurements.md from the records in docs/records/ and docs/h100/: figures are never typed.

A record says what was measured, with which command, on which machine, with which versions, on which date, every run, and the
target with whether it was met.
"""

from pathlib import Path
from typing import Any

from mindtune.cli import run
from mindtune.records import read_json, write_text

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Measurements

Written by `scripts/measurements.py` from the records in `docs/records/` and `docs/h100/`; a record is written by the command that it
names. A figure of speed holds for its machine and its date.
"""


def show(value: Any) -> str:
    """A value for a table cell."""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {show(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(show(part) for part in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def section(name: str, record: dict[str, Any]) -> str:
    """One record as Markdown: its head, one table of its figures, its note."""
    lines = [f"## {record['what']}", ""]
    lines += [
        f"`{record['command']}` · {show(record['machine'])} · {show(record['versions'])} · {record['date']} · `{name}`",
        "",
    ]
    runs = record["runs"]
    columns = list(dict.fromkeys(key for row in runs for key in row))
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(show(row.get(column, "")) for column in columns) + " |" for row in runs]
    if record.get("median") is not None:
        lines += ["", f"Median: {show(record['median'])}."]
    if record.get("target"):
        lines += ["", f"Target: {show(record['target'])}: {'met' if record['met'] else '**missed**'}."]
    if record.get("note"):
        lines += ["", record["note"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    records = sorted((ROOT / "docs/records").glob("*.json")) + sorted((ROOT / "docs/h100").glob("*.json"))
    parts = [section(path.relative_to(ROOT).as_posix(), read_json(path)) for path in records]
    write_text(ROOT / "docs/measurements.md", HEAD + "\n" + "\n".join(parts))


if __name__ == "__main__":
    raise SystemExit(run(main))
