"""One self-contained HTML page from the records of a run: the evaluation first, then figures,
stages, packages. It has no script, and no reference but to the last audit and the lineage page
beside it; all text is escaped.
"""

import base64
import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mindtune.audit.last_audit import BESIDE
from mindtune.cli import UserError

IMAGE_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
# Longer lists are cut on the page, with the number of rows that the record holds.
MOST_ROWS = 40
MOST_ITEMS = 12


def folders_above(path: str) -> list[str]:
    """The folders in which a relative path lies, the nearest first."""
    return [parent.as_posix() for parent in PurePosixPath(path).parents]


def producers(records: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """{record: the other records whose stage made a file that this one read, or a file in or
    around a folder of it}.
    """
    made: dict[str, set[str]] = {}  # output -> records
    within: dict[str, set[str]] = {}  # folder around an output -> records
    for path, record in records.items():
        for output in (path, *record["outputs"]):
            made.setdefault(output, set()).add(path)
            for folder in folders_above(output):
                within.setdefault(folder, set()).add(path)
    return {
        path: {
            other
            for wanted in record["inputs"]
            for found in (
                within.get(wanted, ()),
                *(made.get(place, ()) for place in (wanted, *folders_above(wanted))),
            )
            for other in found
            if other != path
        }
        for path, record in records.items()
    }


def pipeline_order(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The records' paths so that a stage comes after those whose files it reads; otherwise in the
    order given.
    """
    paths, needed = list(records), producers(records)
    place = {path: number for number, path in enumerate(paths)}
    users: dict[str, list[str]] = {path: [] for path in paths}
    for path, others in needed.items():
        for other in others:
            users[other].append(path)
    free = [place[path] for path in paths if not needed[path]]
    ordered = []
    while free:
        ordered.append(paths[heapq.heappop(free)])
        for user in users[ordered[-1]]:
            needed[user].discard(ordered[-1])
            if not needed[user]:
                heapq.heappush(free, place[user])
    if waiting := sorted(set(paths) - set(ordered)):
        raise UserError(
            f"{', '.join(waiting)} read each other's outputs; these are not records of one run"
        )
    return ordered


def show(value: Any) -> str:
    """A single value for a reader."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        more = f" … {len(value)} in all" if len(value) > MOST_ITEMS else ""
        return ", ".join(map(show, value[:MOST_ITEMS])) + more or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {show(inner)}" for key, inner in value.items()) or "none"
    return str(value)


def rows_block(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A table of a list of objects, columns in the order in which they appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [
        [show(row[column]) if column in row else "" for column in columns]
        for row in rows[:MOST_ROWS]
    ]
    return {"name": name, "columns": columns, "rows": cells, "total": len(rows)}


def blocks(data: Mapping[str, Any], prefix: str = "") -> list[dict[str, Any]]:
    """What the page shows of a record's params or facts: one table of pairs, then a folded table
    for every long part.
    """
    pairs: list[tuple[str, str]] = []
    folded: list[dict[str, Any]] = []
    for key, value in data.items():
        name = prefix + key
        if isinstance(value, dict) and len(value) > MOST_ITEMS:
            folded.append(
                rows_block(
                    name, [{"name": inner, "value": found} for inner, found in value.items()]
                )
            )
        elif isinstance(value, dict) and value:
            for part in blocks(value, name + "."):
                pairs += part.get("pairs", [])
                folded += [] if "pairs" in part else [part]
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            folded.append(rows_block(name, value))
        else:
            pairs.append((name, show(value)))
    return ([{"pairs": pairs}] if pairs else []) + folded


def is_toy(params: Any) -> bool:
    """True if a record's params say, at any depth, that the model is the toy one."""
    if isinstance(params, dict):
        return params.get("toy") is True or any(map(is_toy, params.values()))
    return isinstance(params, list) and any(map(is_toy, params))


def data_uri(path: Path) -> str:
    """An image as a data: address, so that the page needs no other file."""
    kind = IMAGE_TYPES.get(path.suffix)
    if kind is None:
        raise UserError(f"{path} is no image for the report: give one of {', '.join(IMAGE_TYPES)}")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def markdown_html(text: str) -> Any:
    """Markdown tables as HTML. Raw HTML in them is escaped; links and images would point outside
    and are left as text.
    """
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(
        MarkdownIt("js-default").disable(["link", "image", "autolink", "reference"]).render(text)
    )


def stage_view(path: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of one record."""
    return {
        "name": record["stage"],
        "path": path,
        "params": blocks(record["params"]),
        "facts": blocks(record["facts"]),
        "hashes": [
            (side[:-1], name, found)
            for side in ("inputs", "outputs")
            for name, found in record[side].items()
        ],
    }


def render(
    title: str,
    records: Mapping[str, Mapping[str, Any]],
    images: Sequence[Path],
    tables: Sequence[str],
    pairs: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The whole page, from {path: record}, image files, Markdown texts and pairs of replies; it
    opens with the first table and the first image.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    packages = sorted(
        {(name, number) for record in records.values() for name, number in record["env"].items()}
    )
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    template = pages.get_template("report.html.j2")
    return template.render(
        title=title,
        audit=Markup(BESIDE),
        toy=any(is_toy(record["params"]) for record in records.values()),
        tables=[markdown_html(text) for text in tables],
        pairs=pairs,
        images=[{"name": path.as_posix(), "uri": data_uri(path)} for path in images],
        stages=[stage_view(path, records[path]) for path in pipeline_order(records)],
        packages=packages,
    )
