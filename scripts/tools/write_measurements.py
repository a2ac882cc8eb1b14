"""Write docs/measurements.md from the records in docs/records/ and docs/h100/, for a reader:
figures are never typed, and series and long commands stay in the records.
"""

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import argument_parser, run
from mindtune.records import read_json, write_text
from tools.measurement_pages import PAGES

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Measurements

Written by `scripts/tools/write_measurements.py` from the records in `docs/records/` and
`docs/h100/`, which also hold every single run, the whole command, and the versions. A figure of
speed holds for its machine and its date.
"""
COLUMNS = 8  # of a record that no page is written for yet
Row = dict[str, Any]


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
        return ", ".join(f"{key} {show(part)}" for key, part in value.items() if part != 0)
    return str(value).replace("|", "\\|").replace("\n", " ")


def at(row: Row, path: str) -> Any:
    """The value at a path: a key, or keys with dots between."""
    if path in row:
        return row[path]
    first, _, rest = path.partition(".")
    part = row.get(first)
    return at(part, rest) if rest and isinstance(part, dict) else None


def by_name(record: Row, *path: str) -> list[Row]:
    """A row for each entry of a mapping in the record: its name with its figures, or its value."""
    part = record
    for key in path:
        part = part[key]
    if all(isinstance(value, dict) for value in part.values()) or len(path) > 1:
        rows = part.items()
    else:
        rows = [(name, value) for name, value in part.items() if isinstance(value, dict)]
    return [
        {"name": name} | (value if isinstance(value, dict) else {"value": value})
        for name, value in rows
    ]


def by_step(record: Row, key: str) -> list[Row]:
    """A row for each entry of a mapping that every run has, with a column for each run."""
    names = dict.fromkeys(name for each in record["runs"] for name in each[key])
    return [
        {"name": name}
        | {f"run {number}": each[key].get(name) for number, each in enumerate(record["runs"], 1)}
        for name in names
    ]


def inner(record: Row, key: str, name: str) -> list[Row]:
    """The rows inside each run, with the run's name in front."""
    return [{"of": each[name]} | row for each in record["runs"] for row in each[key]]


def having(record: Row, key: str) -> list[Row]:
    """The runs that have a key."""
    return [row for row in record["runs"] if key in row]


SOURCES = {"by_name": by_name, "by_step": by_step, "inner": inner, "having": having}


def table(rows: list[Row], columns: dict[str, str]) -> list[str]:
    """A Markdown table; a column that no row has is left out."""
    shown = {
        key: title
        for key, title in columns.items()
        if any(at(row, key) is not None for row in rows)
    }
    lines = ["| " + " | ".join(shown.values()) + " |", "|" + "---|" * len(shown)]
    return lines + ["| " + " | ".join(show(at(row, key)) for key in shown) + " |" for row in rows]


def any_page(record: Row) -> Row:
    """A page for a record that has none: the note's first sentence, and its plain columns."""
    rows = record["runs"]
    keys = dict.fromkeys([*record.get("columns", []), *(key for row in rows for key in row)])
    plain = [
        key
        for key in keys
        if not any(isinstance(row.get(key), (list, dict)) for row in rows)
        and not any(len(str(row.get(key, ""))) > 60 for row in rows)
    ]
    return {
        "title": record["what"][:1].upper() + record["what"][1:],
        "headline": (record.get("note") or "").split(". ")[0].rstrip(".") + ".",
        "columns": {key: key.replace("_", " ") for key in plain[:COLUMNS]},
    }


def targets(record: Row) -> list[str]:
    """What was aimed at, and whether it is met; nothing for a record without a verdict."""
    target, met, median = record.get("target"), record.get("met"), record.get("median")
    if not target or met is None:
        return []
    if isinstance(target, dict) and isinstance(met, dict):
        rows = [
            {"figure": key.replace("_", " "), "measured": at(median, key), "met": met[key]}
            | {"target": target[key]}
            for key in target
        ]
        titles = dict.fromkeys(("figure", "measured", "target", "met"))
        return ["", *table(rows, {title: title for title in titles})]
    return ["", f"Target: {show(target).replace('_', ' ')}. Met: {show(met)}."]


def short(command: str) -> str:
    """A command's program, or its make target, without variables and options."""
    words = [word for word in command.split(" --")[0].split() if not re.match(r"[A-Z_]+=", word)]
    return " ".join(words[:3])


def section(name: str, record: Row) -> str:
    """One record as Markdown: title, headline, target, the columns that matter, where it is."""
    page = PAGES.get(name) or any_page(record)
    source, *words = page.get("rows", ("runs",))
    rows = SOURCES[source](record, *words) if source in SOURCES else record["runs"]
    machine = record["machine"]
    place = machine if isinstance(machine, str) else show(machine.get("cards") or machine["cpu"])
    place = place.strip("[]'").split(",")[0]
    command = short(record["command"])
    return "\n".join(
        [
            f"## {page['title']}",
            "",
            *textwrap.wrap(f"**{page['headline'].format(**record)}**", 100),
            *targets(record),
            "",
            *table(rows, page["columns"]),
            "",
            *textwrap.wrap(record.get("note") or "", 100, break_long_words=False),
            "",
            f"{place} · {record['date']} · `{command}` · [{Path(name).name}]({name[5:]})",
            "",
        ]
    )


def main() -> None:
    argument_parser(__doc__).parse_args()
    records = [path for part in ("records", "h100") for path in (ROOT / "docs" / part).glob("*")]
    found = {path.relative_to(ROOT).as_posix(): read_json(path) for path in sorted(records)}
    # a stage's own record from a run on the card lies there, too: the proof behind a figure, not a
    # figure
    parts = [section(name, record) for name, record in found.items() if "what" in record]
    write_text(ROOT / "docs/measurements.md", HEAD + "\n" + "\n".join(parts))


if __name__ == "__main__":
    raise SystemExit(run(main))
