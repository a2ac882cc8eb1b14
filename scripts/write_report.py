"""Write one self-contained HTML page about a run: what was done, the evaluation, the figures, the
hashes.

Reads stage records, images (PNG or SVG) and Markdown tables. The page has no script and no outside
reference, and says so to the browser; all text from data and models is escaped.
"""

import argparse
import base64
import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mindtune.cli import UserError, run
from mindtune.provenance import check_chain, hash_inputs, read_records
from mindtune.records import sha256_path, write_hashed_record, write_text

IMAGE_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
# Longer lists are cut on the page, with the number of rows that the record holds.
MOST_ROWS = 40
MOST_ITEMS = 12

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
:root { --ink: #1d2a35; --soft: #5b6b79; --line: #dde4ea; --paper: #fff; --tint: #f4f7f9; --accent: #1f6f78; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--tint); font: 16px/1.6 system-ui, -apple-system, "Segoe UI",
  "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; color: var(--accent); }
h3 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
nav a { display: inline-block; margin: 0 1rem .25rem 0; color: var(--accent); }
.path { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem; margin: 0 0 1rem; }
.toy { background: #fff4d6; border: 1px solid #e0b84c; border-radius: 10px; padding: .8rem 1.2rem; margin: 1rem 0; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
.facts th { font-weight: 400; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.evaluation h2 { font-size: 1.1rem; margin: .8rem 0 .4rem; }
.evaluation p, .evaluation ul { font-size: .88rem; color: var(--soft); }
.evaluation table { font-size: .84rem; }
.evaluation td, .evaluation th { white-space: nowrap; padding-right: 1rem; }
.evaluation td:first-child, .evaluation th:first-child { position: sticky; left: 0; background: var(--paper); }
code, .hash { font: .82rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
details { margin: .5rem 0 0; }
summary { cursor: pointer; color: var(--accent); font-size: .9rem; }
figure { margin: 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { color: var(--soft); font-size: .85rem; margin-top: .5rem; overflow-wrap: anywhere; }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
</style>
</head>
<body>
<main>
{% macro block(part) %}
{% if "pairs" in part %}
<table class="facts">{% for key, value in part.pairs %}<tr><th>{{ key }}</th><td>{{ value }}</td></tr>{% endfor %}</table>
{% else %}
<details><summary>{{ part.name }} ({{ part.total }})</summary><div class="wide">
<table><tr>{% for column in part.columns %}<th>{{ column }}</th>{% endfor %}</tr>
{% for row in part.rows %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% if part.total > part.rows | length %}<p class="path">The first {{ part.rows | length }} of {{ part.total }}; the record holds all.</p>{% endif %}
</details>
{% endif %}
{% endmacro %}
<h1>{{ title }}</h1>
<p class="path">Made by MindTune from {{ stages | length }} stage records.</p>
{% if toy %}<p class="toy">This is a toy model built for demonstration; its replies are not counselling.</p>{% endif %}
<nav>{% if tables %}<a href="#evaluation">Evaluation</a>{% endif %}
{% if images %}<a href="#figures">Figures</a>{% endif %}
<a href="#stages">Stages</a><a href="#packages">Packages</a></nav>
{% if tables %}
<h2 id="evaluation">Evaluation</h2>
{% for table in tables %}<div class="card wide evaluation">{{ table }}</div>
{% endfor %}
{% endif %}
{% if images %}
<h2 id="figures">Figures</h2>
{% for image in images %}<figure class="card"><img alt="{{ image.name }}" src="{{ image.uri }}"><figcaption>{{ image.name }}</figcaption></figure>
{% endfor %}
{% endif %}
<h2 id="stages">Stages</h2>
{% for stage in stages %}
<section class="card">
<h3>{{ loop.index }}. {{ stage.name }}</h3>
<div class="path">{{ stage.path }}</div>
{% for part in stage.facts %}{{ block(part) }}{% endfor %}
{% if stage.params %}<details><summary>Settings</summary>
{% for part in stage.params %}{{ block(part) }}{% endfor %}</details>
{% endif %}
<details><summary>Inputs and outputs by SHA-256</summary>
<table class="facts">{% for side, path, hash in stage.hashes %}<tr><th>{{ side }}</th><td>{{ path }}<br><span class="hash">{{ hash }}</span></td></tr>
{% endfor %}</table></details>
</section>
{% endfor %}
<h2 id="packages">Packages</h2>
<div class="card"><table class="facts">{% for name, version in packages %}<tr><th>{{ name }}</th><td>{{ version }}</td></tr>
{% endfor %}</table></div>
</main>
</body>
</html>
"""


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
) -> str:
    """The whole page, from {path: record}, image files and Markdown texts."""
    from jinja2 import Environment, StrictUndefined

    packages = sorted(
        {(name, number) for record in records.values() for name, number in record["env"].items()}
    )
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(PAGE)
    return template.render(
        title=title,
        toy=any(is_toy(record["params"]) for record in records.values()),
        tables=[markdown_html(text) for text in tables],
        images=[{"name": path.as_posix(), "uri": data_uri(path)} for path in images],
        stages=[stage_view(path, records[path]) for path in pipeline_order(records)],
        packages=packages,
    )


def shown(records: Mapping[str, Mapping[str, Any]], files: Sequence[Path]) -> dict[str, str]:
    """{path: SHA-256} of the figures and tables on the page; one that a record given here names
    must be as its stage made it.
    """
    names = {path.as_posix() for path in files}
    return hash_inputs(
        files, [Path(path) for path, record in records.items() if names & record["outputs"].keys()]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
    )
    parser.add_argument(
        "--records",
        type=Path,
        nargs="+",
        required=True,
        help="stage records, JSON; @FILE: one a line in FILE",
    )
    parser.add_argument(
        "--images", type=Path, nargs="*", default=[], help="figures, PNG or SVG; or @FILE"
    )
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="tables, Markdown")
    parser.add_argument("--title", required=True)
    parser.add_argument("--report", type=Path, required=True, help="the HTML page to write")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()

    records = read_records(args.records)
    check_chain(records)
    inputs = shown(records, [*args.images, *args.tables])
    page = render(
        args.title, records, args.images, [path.read_text(encoding="utf-8") for path in args.tables]
    )
    write_text(args.report, page)
    write_hashed_record(
        args.record,
        "write_report",
        inputs=inputs | {path: sha256_path(path) for path in records},
        outputs={args.report.as_posix(): sha256_path(args.report)},
        params={"title": args.title},
        facts={"stages": len(records), "images": len(args.images), "tables": len(args.tables)},
        packages=["jinja2", "markdown-it-py"],
    )
    print(
        f"wrote {args.report}: {len(records)} stages, {len(args.images)} figures, "
        f"{len(page.encode()) / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
