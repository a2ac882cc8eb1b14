"""The graphs of rules, jobs and files as DOT, Mermaid and SVG: every arrow of Snakemake's own graph
is in each of them, and none that is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import east_asian_width
from xml.sax.saxutils import escape, quoteattr

from mindtune.audit.rulegraph import ARROW, COLOURS

# Pixels. The font has one width for all signs, so that the room for a label is known without it.
SIGN, PADDING, HEIGHT, GAP, LAYER = 6.7, 9, 22, 16, 64
MARGIN, SWEEPS = 20, 4


@dataclass(frozen=True)
class Graph:
    """Nodes {id: (label, stage family)} and arrows (id, id), both sorted by whoever makes it."""

    nodes: dict[str, tuple[str, str]]
    edges: list[tuple[str, str]]


def job_label(job: Mapping[str, Any]) -> str:
    """`train_lora main`, or the rule alone where it has no wildcards."""
    return " ".join([job["rule"], "/".join(job["wildcards"].values())]).strip()


def family(job: Mapping[str, Any]) -> str:
    """The stage of a job's rule, as the colours know it."""
    return job["stage"] if job["stage"] in COLOURS else "other"


def rule_graph(jobs: Sequence[Mapping[str, Any]]) -> Graph:
    """A node a rule; an arrow where any of its jobs needs one of another rule."""
    nodes = {job["rule"]: (job["rule"], family(job)) for job in jobs}
    edges = {(jobs[other]["rule"], job["rule"]) for job in jobs for other in job["needs"]}
    return Graph(dict(sorted(nodes.items())), sorted(edges))


def job_graph(jobs: Sequence[Mapping[str, Any]]) -> Graph:
    """A node a job, an arrow from each job to those that need it."""
    nodes = {f"j{number}": (job_label(job), family(job)) for number, job in enumerate(jobs)}
    edges = [
        (f"j{other}", f"j{number}") for number, job in enumerate(jobs) for other in job["needs"]
    ]
    return Graph(nodes, edges)


def file_graph(jobs: Sequence[Mapping[str, Any]]) -> Graph:
    """Files, and the jobs between them: an arrow for everything that is read or made."""
    files = sorted({path for job in jobs for side in ("inputs", "outputs") for path in job[side]})
    place = {path: f"f{number}" for number, path in enumerate(files)}
    nodes = {place[path]: (path, "other") for path in files}
    nodes |= {f"j{number}": (job_label(job), family(job)) for number, job in enumerate(jobs)}
    read = [
        (place[path], f"j{number}") for number, job in enumerate(jobs) for path in job["inputs"]
    ]
    made = [
        (f"j{number}", place[path]) for number, job in enumerate(jobs) for path in job["outputs"]
    ]
    return Graph(nodes, read + made)


def cells(text: str) -> int:
    """How wide a label is, in Latin letters of a font that has one width; Chinese takes two."""
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def printable(text: str) -> str:
    """A label in one line, signs that do not print written out."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def dot(graph: Graph) -> str:
    """The graph for Graphviz."""
    lines = ["digraph mindtune {", "    node [shape=box, style=filled, fontname=sans];"]
    for name, (label, stage) in graph.nodes.items():
        text = printable(label).replace("\\", "\\\\").replace('"', '\\"')
        fill, edge = COLOURS[stage]
        lines.append(f'    {name} [label="{text}", fillcolor="{fill}", color="{edge}"];')
    lines += [f"    {start} -> {end};" for start, end in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


def mermaid_label(text: str) -> str:
    """A label in quotes; what Mermaid would read as something else is written by its number."""
    return "".join(f"#{ord(sign)};" if sign in '"#&<>\\`' else sign for sign in printable(text))


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart."""
    stages = {stage for _, stage in graph.nodes.values()}
    lines = ["flowchart TD"]
    lines += [
        f'    {name}["{mermaid_label(label)}"]:::{stage}'
        for name, (label, stage) in graph.nodes.items()
    ]
    lines += [f"    {start} --> {end}" for start, end in graph.edges]
    lines += [
        f"    classDef {stage} fill:{fill},stroke:{edge}"
        for stage, (fill, edge) in COLOURS.items()
        if stage in stages
    ]
    return "\n".join(lines) + "\n"


def layers_of(graph: Graph) -> list[list[str]]:
    """The nodes layer by layer, each below all that it follows from, near its neighbours above."""
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for start, end in graph.edges:
        before[end].append(start)
        after[start].append(end)
    waiting = {name: len(others) for name, others in before.items()}
    layers, free = [], [name for name, count in waiting.items() if not count]
    while free:
        layers.append(free)
        following = []
        for name in free:
            for other in after[name]:
                waiting[other] -= 1
                if not waiting[other]:
                    following.append(other)
        free = following
    for _ in range(SWEEPS):
        spot = {name: (n + 0.5) / len(layer) for layer in layers for n, name in enumerate(layer)}
        for layer in layers:
            middle = {
                name: sum(spot[o] for o in before[name]) / len(before[name])
                if before[name] else spot[name]
                for name in layer
            }  # fmt: skip
            layer.sort(key=lambda name: middle[name])
            spot |= {name: (n + 0.5) / len(layer) for n, name in enumerate(layer)}
    return layers


def svg(graph: Graph) -> str:
    """The graph as a picture: layers from above to below, arrows under the boxes."""
    width = {name: cells(label) * SIGN + 2 * PADDING for name, (label, _) in graph.nodes.items()}
    layers = layers_of(graph)
    rows = [sum(width[name] + GAP for name in layer) for layer in layers]
    whole = max(rows, default=0)
    at: dict[str, tuple[float, float]] = {}
    for number, layer in enumerate(layers):
        left = MARGIN + (whole - rows[number]) / 2
        for name in layer:
            at[name] = left, MARGIN + number * LAYER
            left += width[name] + GAP
    size = whole + 2 * MARGIN, MARGIN * 2 + max(len(layers) - 1, 0) * LAYER + HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]:.0f}" height="{size[1]:.0f}" '
        f'viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" font-family="monospace" font-size="11">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<g fill="none" stroke="{ARROW}">',
    ]
    for start, end in graph.edges:
        x, y = at[start][0] + width[start] / 2, at[start][1] + HEIGHT
        right, down = at[end][0] + width[end] / 2, at[end][1]
        half = (down - y) / 2
        lines.append(
            f'<path d="M{x:.0f} {y:.0f}c0 {half:.0f} {right - x:.0f} {half:.0f} '
            f'{right - x:.0f} {down - y:.0f}" data-edge={quoteattr(f"{start} {end}")}/>'
        )
    lines.append("</g>")
    for name, (label, stage) in graph.nodes.items():
        x, y = at[name]
        fill, edge = COLOURS[stage]
        lines.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{width[name]:.0f}" height="{HEIGHT}" rx="5" '
            f'fill="{fill}" stroke="{edge}"/><text x="{x + PADDING:.0f}" y="{y + 15:.0f}">'
            f"{escape(printable(label))}</text>"
        )
    return "\n".join([*lines, "</svg>"]) + "\n"
