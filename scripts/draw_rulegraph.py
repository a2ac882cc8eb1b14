"""Draw Snakemake's rule graph as a picture in layers, without graphviz.

Reads the dot text of `snakemake --rulegraph dot` (a file, or - for standard input). Writes an SVG
and a Mermaid diagram of the same graph. An arrow that a longer path already implies is left out of
both: what feeds every rule would hide the rest.
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, run
from mindtune.records import partial, write_record, write_text

NODE = re.compile(r'^\s*(\w+)\s*\[\s*label\s*=\s*"([^"\\]*)', re.MULTILINE)
EDGE = re.compile(r"^\s*(\w+)\s*->\s*(\w+)\s*;?\s*$", re.MULTILINE)
# Fill and edge of a rule's box, by the stage family it belongs to.
COLOURS = {
    "env": ("#eceff1", "#78909c"),
    "data": ("#e3f2ea", "#3f8f63"),
    "train": ("#fdecd6", "#c9822b"),
    "export": ("#e4ecf9", "#4a72b8"),
    "evaluate": ("#f0e6f6", "#8656a5"),
    "serve": ("#fbe4e6", "#bd5560"),
    "audit": ("#e0f3f4", "#2f8f98"),
    "other": ("#f6f6f6", "#8a8a8a"),
}
# Inches. A lane is the room that an arrow gets where it passes a layer without stopping.
BOX_HEIGHT, LAYER_HEIGHT, BOX_GAP, LANE, MARGIN = 0.36, 0.8, 0.3, 0.28, 0.25
FONT, FONT_SIZE, LEGEND_SIZE, PADDING = "DejaVu Sans", 10, 9, 0.14
ARROW = "#9aa7b2"
LEFT_OUT = "Arrows that a longer path implies are left out."
STARTS, SWEEPS, SETTLING = 24, 12, 200

Rank = dict[Any, int]
Order = list[list[Any]]


def parse_dot(text: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Rule names and edges (from, to), sorted, of Snakemake's dot text."""
    names = dict(NODE.findall(text))
    if not names:
        raise UserError(
            "no rule in the dot text; give the output of `snakemake --rulegraph dot`, one rule a "
            "line"
        )
    edges = {(names[a], names[b]) for a, b in EDGE.findall(text) if names[a] != names[b]}
    return sorted(set(names.values())), sorted(edges)


def reduced(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> Any:
    """The graph without the edges that a longer path implies (its transitive reduction), nodes and
    edges sorted.
    """
    import networkx as nx

    full = nx.DiGraph(edges)
    if not nx.is_directed_acyclic_graph(full):
        raise UserError(
            "the rule graph has a circle, which Snakemake never draws; check the dot text"
        )
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(sorted(nx.transitive_reduction(full).edges))
    return graph


def rank_rules(graph: Any) -> Rank:
    """The layer of each rule: as early as its inputs allow, then later where that shortens its
    arrows.
    """
    import networkx as nx

    rank = {
        name: layer
        for layer, names in enumerate(nx.topological_generations(graph))
        for name in names
    }
    for name in reversed(list(nx.lexicographical_topological_sort(graph))):
        if graph.out_degree(name) > graph.in_degree(name):
            rank[name] = min(rank[after] for after in graph.successors(name)) - 1
    return rank


def with_lanes(graph: Any, rank: Rank) -> Any:
    """The graph with each long edge cut at every layer that it passes; the cuts are nodes (from,
    to, layer).
    """
    import networkx as nx

    layered = nx.DiGraph()
    layered.add_nodes_from((name, {"layer": rank[name]}) for name in graph)
    for start, end in graph.edges:
        lanes = [(start, end, layer) for layer in range(rank[start] + 1, rank[end])]
        layered.add_nodes_from((lane, {"layer": lane[2]}) for lane in lanes)
        nx.add_path(layered, [start, *lanes, end])
    return layered


def crossings(layered: Any, order: Order) -> int:
    """How many pairs of edges cross between neighbouring layers."""
    total = 0
    for above, below in pairwise(order):
        place = {node: position for position, node in enumerate(below)}
        ends = [
            end
            for node in above
            for end in sorted(place[after] for after in layered.successors(node))
        ]
        total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


def swept(layered: Any, order: Order, sweep: int) -> None:
    """Sort each layer by the mean place of its neighbours in the layer above (even sweeps,
    downwards) or below.
    """
    down = sweep % 2 == 0
    near = layered.predecessors if down else layered.successors
    layers = range(1, len(order)) if down else range(len(order) - 2, -1, -1)
    for layer in layers:
        beside = order[layer - 1 if down else layer + 1]
        place = {node: (position + 0.5) / len(beside) for position, node in enumerate(beside)}
        own = {
            node: (position + 0.5) / len(order[layer]) for position, node in enumerate(order[layer])
        }
        centre = {
            node: [place[other] for other in near(node)] or [own[node]] for node in order[layer]
        }
        order[layer].sort(key=lambda node: sum(centre[node]) / len(centre[node]))


def order_layers(layered: Any) -> Order:
    """The order in each layer with the fewest crossings that barycentre sweeps find from a few
    seeded starts.
    """
    layers = 1 + max(layer for _, layer in layered.nodes(data="layer"))
    best: Order = []
    fewest = sys.maxsize
    for start in range(STARTS):
        order = [
            sorted((n for n, at in layered.nodes(data="layer") if at == layer), key=str)
            for layer in range(layers)
        ]
        for layer in order:
            random.Random(start).shuffle(layer)
        for sweep in range(SWEEPS):
            swept(layered, order, sweep)
            found = crossings(layered, order)
            if found < fewest:
                best, fewest = [list(layer) for layer in order], found
    return best


def spread(
    wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float]
) -> list[float]:
    """Places as near as possible to the wanted ones (weighted least squares) in the given order
    without overlap.

    Pool adjacent violators: with the widths before it taken off, no place may lie left of the one
    before.
    """
    offsets = [sum(widths[:position]) + width / 2 for position, width in enumerate(widths)]
    pools: list[tuple[float, float, int]] = []
    for target, weight, offset in zip(wanted, weights, offsets, strict=True):
        pools.append((target - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (right, heavy, many), (left, light, few) = pools.pop(), pools.pop()
            pools.append(
                ((left * light + right * heavy) / (light + heavy), light + heavy, few + many)
            )
    levels = [mean for mean, _, count in pools for _ in range(count)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def pull(one: Any, other: Any) -> float:
    """How hard an edge pulls its ends together: most inside a long edge, so that its lanes stand
    in one line.
    """
    return {0: 1.0, 1: 2.0, 2: 8.0}[isinstance(one, tuple) + isinstance(other, tuple)]


def place(layered: Any, order: Order, widths: Mapping[Any, float]) -> dict[Any, float]:
    """The middle of each node in inches from the left: near its neighbours, lanes straight,
    nothing overlapping.
    """
    x: dict[Any, float] = {}
    for layer in order:
        x |= dict(
            zip(
                layer,
                spread([0.0] * len(layer), [1.0] * len(layer), [widths[n] for n in layer]),
                strict=True,
            )
        )
    near = {
        n: {m: pull(n, m) for m in (*layered.predecessors(n), *layered.successors(n))} or {n: 1.0}
        for n in layered
    }
    for sweep in range(SETTLING):
        for layer in order if sweep % 2 == 0 else reversed(order):
            weights = [sum(near[node].values()) for node in layer]
            wanted = [
                sum(x[m] * force for m, force in near[n].items()) / sum(near[n].values())
                for n in layer
            ]
            x |= dict(
                zip(layer, spread(wanted, weights, [widths[node] for node in layer]), strict=True)
            )
    left = min(x[node] - widths[node] / 2 for node in layered)
    return {node: x[node] - left for node in layered}


def arrow_path(points: Sequence[tuple[float, float]]) -> Any:
    """A smooth curve downwards through points, upright at both ends, that never swings wider than
    its points.
    """
    from matplotlib.path import Path as Curve

    steps = [((b[0] - a[0]) / (b[1] - a[1]), b[1] - a[1]) for a, b in pairwise(points)]
    # The smaller of the two slopes that meet in a point, or upright where they turn: as in
    # monotone interpolation.
    inner = [min(m, n, key=abs) if m * n > 0 else 0.0 for (m, _), (n, _) in pairwise(steps)]
    slopes = [0.0, *inner, 0.0]
    vertices, codes = [points[0]], [Curve.MOVETO]
    for number, (a, b) in enumerate(pairwise(points)):
        reach = 0.45 * steps[number][1]
        vertices += [
            (a[0] + slopes[number] * reach, a[1] + reach),
            (b[0] - slopes[number + 1] * reach, b[1] - reach),
            b,
        ]
        codes += [Curve.CURVE4] * 3
    return Curve(vertices, codes)


def arrow_points(
    start: str, end: str, x: Mapping[Any, float], rank: Rank
) -> list[tuple[float, float]]:
    """From the foot of one box to the head of another, along the lanes between; whole beside the
    first and last layer.
    """
    half = BOX_HEIGHT / 2
    lanes = [
        (x[start, end, layer], layer * LAYER_HEIGHT) for layer in range(rank[start] + 1, rank[end])
    ]
    if lanes:
        (first, high), (last, low) = lanes[0], lanes[-1]
        lanes = [(first, high - half), *lanes[1:-1], (last, low + half)]
    return [
        (x[start], rank[start] * LAYER_HEIGHT + half),
        *lanes,
        (x[end], rank[end] * LAYER_HEIGHT - half),
    ]


def draw_arrows(axes: Any, graph: Any, x: Mapping[Any, float], rank: Rank) -> None:
    """All arrows of the graph, under the boxes."""
    from matplotlib.patches import PathPatch, Polygon

    for start, end in graph.edges:
        points = arrow_points(start, end, x, rank)
        axes.add_patch(
            PathPatch(arrow_path(points), fill=False, edgecolor=ARROW, linewidth=1.3, zorder=1)
        )
        right, down = points[-1]
        head = [(right, down), (right - 0.05, down - 0.1), (right + 0.05, down - 0.1)]
        axes.add_patch(Polygon(head, facecolor=ARROW, edgecolor="none", zorder=2))


def draw_box(
    axes: Any, middle: tuple[float, float], size: tuple[float, float], family: str, text: str = ""
) -> None:
    """A rounded box in its family's colours, with its text in the middle."""
    from matplotlib.patches import FancyBboxPatch

    fill, edge = COLOURS[family]
    corner = (middle[0] - size[0] / 2, middle[1] - size[1] / 2)
    style = f"round,pad=0,rounding_size={min(size) / 4}"
    axes.add_patch(
        FancyBboxPatch(
            corner, *size, boxstyle=style, facecolor=fill, edgecolor=edge, linewidth=1.3, zorder=3
        )
    )
    axes.text(
        *middle,
        text,
        ha="center",
        va="center_baseline",
        fontsize=FONT_SIZE,
        color="#1d2a35",
        zorder=4,
    )


def draw_legend(axes: Any, families: Sequence[str], y: float) -> float:
    """The families that the picture uses, in one row, and what it leaves out. Returns the row's
    width in inches.
    """
    style = {"va": "center_baseline", "fontsize": LEGEND_SIZE, "color": "#5b6b79"}
    at = 0.0
    for family, width in text_widths(families, LEGEND_SIZE).items():
        draw_box(axes, (at + 0.1, y), (0.2, 0.15), family)
        axes.text(at + 0.27, y, family, **style)
        at += 0.27 + width + 0.25
    axes.text(0.0, y + 0.27, LEFT_OUT, **style)
    return max(at, text_widths([LEFT_OUT], LEGEND_SIZE)[LEFT_OUT])


def text_widths(texts: Sequence[str], size: float) -> dict[str, float]:
    """The width of each text in inches in the picture's font."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family=FONT)
    return {
        text: TextPath((0, 0), text, size, prop=font).get_extents().width / 72 for text in texts
    }


def draw(graph: Any, families: Mapping[str, str], svg: Path) -> None:
    """Lay the graph out and write it as SVG with the same bytes for the same graph: text as paths,
    no date, fixed ids.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    rank = rank_rules(graph)
    layered = with_lanes(graph, rank)
    boxes = {
        name: width + 2 * PADDING for name, width in text_widths(list(graph), FONT_SIZE).items()
    }
    slots = {node: boxes[node] + BOX_GAP if node in boxes else LANE for node in layered}
    x = place(layered, order_layers(layered), slots)
    used = [
        family for family in COLOURS if family in {families.get(name, "other") for name in graph}
    ]
    foot = max(rank.values()) * LAYER_HEIGHT + BOX_HEIGHT / 2
    top, bottom = -BOX_HEIGHT / 2 - MARGIN, foot + 0.77 + MARGIN
    with matplotlib.rc_context(
        {"svg.hashsalt": "mindtune", "svg.fonttype": "path", "font.family": FONT}
    ):
        figure = plt.figure()
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        draw_arrows(axes, graph, x, rank)
        for name in graph:
            middle = (x[name], rank[name] * LAYER_HEIGHT)
            draw_box(axes, middle, (boxes[name], BOX_HEIGHT), families.get(name, "other"), name)
        width = max(
            draw_legend(axes, used, foot + 0.5), *(x[node] + slots[node] / 2 for node in layered)
        )
        axes.set(xlim=(-MARGIN, width + MARGIN), ylim=(bottom, top))
        figure.set_size_inches(width + 2 * MARGIN, bottom - top)
        with partial(svg) as temporary:
            figure.savefig(
                temporary, format="svg", facecolor="white", metadata={"Date": None, "Creator": None}
            )
        plt.close(figure)


def mermaid(graph: Any, families: Mapping[str, str]) -> str:
    """The same graph as a Mermaid flowchart, which code hosts draw inside Markdown."""
    used = [
        family for family in COLOURS if family in {families.get(name, "other") for name in graph}
    ]
    lines = [f"%% {LEFT_OUT}", "flowchart TD"]
    lines += [f"    {name}({name}):::{families.get(name, 'other')}" for name in graph]
    lines += [f"    {start} --> {end}" for start, end in sorted(graph.edges)]
    lines += [
        f"    classDef {family} fill:{COLOURS[family][0]},stroke:{COLOURS[family][1]}"
        for family in used
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dot",
        required=True,
        help="the output of `snakemake --rulegraph dot`, or - for standard input",
    )
    parser.add_argument(
        "--families", type=json.loads, required=True, help="JSON {rule: family}, for the colours"
    )
    parser.add_argument("--svg", type=Path, required=True)
    parser.add_argument("--mermaid", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()

    strange = sorted(set(args.families.values()) - COLOURS.keys())
    if strange:
        raise UserError(
            f"--families names the family {strange[0]!r}; known are {', '.join(COLOURS)}"
        )
    graph = reduced(
        *parse_dot(
            sys.stdin.read() if args.dot == "-" else Path(args.dot).read_text(encoding="utf-8")
        )
    )
    # whether the environments' rules are in the graph depends on what this machine has built
    # already
    graph.remove_nodes_from([name for name in graph if args.families.get(name) == "env"])
    draw(graph, args.families, args.svg)
    write_text(args.mermaid, mermaid(graph, args.families))
    write_record(
        args.record,
        "rulegraph",
        inputs=[],
        outputs=[args.svg, args.mermaid],
        params={"families": args.families},
        facts={"rules": graph.number_of_nodes(), "arrows": graph.number_of_edges()},
        packages=["matplotlib", "networkx"],
    )
    print(f"drew {graph.number_of_nodes()} rules and {graph.number_of_edges()} arrows")


if __name__ == "__main__":
    raise SystemExit(run(main))
