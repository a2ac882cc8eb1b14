"""The lineage page: one HTML file that holds the places of the rules, the data and its script."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.audit.graphs import Graph, cells
from mindtune.audit.last_audit import BESIDE
from mindtune.audit.layers import order_layers, place, rank_rules, reduced, with_lanes
from mindtune.audit.packing import pack
from mindtune.audit.rulegraph import COLOURS

SCRIPT = "lineage.js"
# Pixels: a letter of the page's font, what a box has beside its name, and the room between boxes
SIGN, BESIDE_NAME, NARROWEST, GAP, LANE = 7.3, 66, 150, 26, 14


def layout(graph: Graph) -> dict[str, Any]:
    """{rules: {name: {layer, x, w}}, layers: [...], width, arrows: {(from, to): [implied, lanes]}}.

    A lane is where an arrow passes a layer. Arrows that a longer path implies have none.
    """
    short = reduced(list(graph.nodes), graph.edges)
    rank = rank_rules(short)
    layered = with_lanes(short, rank)
    boxes = {
        name: max(NARROWEST, cells(label) * SIGN + BESIDE_NAME)
        for name, (label, _) in graph.nodes.items()
    }
    slots = {node: boxes[node] + GAP if node in boxes else LANE for node in layered}
    x = place(layered, order_layers(layered), slots)
    arrows = {}
    for start, end in graph.edges:
        lanes = [
            round(x[start, end, layer]) for layer in range(rank[start] + 1, rank[end])
            if (start, end, layer) in x
        ]  # fmt: skip
        arrows[start, end] = [0 if short.has_edge(start, end) else 1, lanes]
    rules = {
        name: {"layer": rank[name], "x": round(x[name] - boxes[name] / 2), "w": round(boxes[name])}
        for name in graph.nodes
    }
    return {
        "rules": rules, "layers": list(range(max(rank.values()) + 1)), "arrows": arrows,
        "width": round(max(x[node] + slots[node] / 2 for node in layered)),
    }  # fmt: skip


def page_data(
    graph: Graph,
    rules: Sequence[Mapping[str, Any]],
    described: Mapping[str, Any],
    numbers: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """All that the page's script gets."""
    placed = layout(graph)
    number = {rule["name"]: n for n, rule in enumerate(rules)}
    return {
        **described,
        "rules": [{**rule, **placed["rules"][rule["name"]]} for rule in rules],
        "arrows": {f"{number[a]}>{number[b]}": about for (a, b), about in placed["arrows"].items()},
        "layers": placed["layers"],
        "width": placed["width"],
        "numbers": list(numbers),
    }


def render(title: str, data: Mapping[str, Any]) -> str:
    """The whole page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    script = (folder / SCRIPT).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    pages = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    used = {rule["stage"] for rule in data["rules"]}
    return pages.get_template("lineage.html.j2").render(
        title=title, jobs=len(data["jobs"]), rules=len(data["rules"]), files=len(data["files"]),
        arrows=sum(len(job["needs"]) for job in data["jobs"]), colours=COLOURS,
        stages=[stage for stage in COLOURS if stage in used], script_hash=digest,
        script=Markup(script), data=Markup(pack(data)), audit=Markup(BESIDE),
    )  # fmt: skip
