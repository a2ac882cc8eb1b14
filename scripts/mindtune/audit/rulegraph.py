"""Draw the graph of the rules as an SVG, and write it as Mermaid text."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mindtune.audit.layers import Rank, order_layers, place, rank_rules, with_lanes
from mindtune.records import partial

# Fill and edge of a rule's box, by the stage family it belongs to.
COLOURS = {
    "env": ("#eceff1", "#78909c"),
    "data": ("#e3f2ea", "#3f8f63"),
    "train": ("#fdecd6", "#c9822b"),
    "export": ("#e4ecf9", "#4a72b8"),
    "evaluate": ("#f0e6f6", "#8656a5"),
    "judge": ("#f6e6f0", "#a5568a"),
    "conversations": ("#e6e8f6", "#565fa5"),
    "serve": ("#fbe4e6", "#bd5560"),
    "audit": ("#e0f3f4", "#2f8f98"),
    "other": ("#f6f6f6", "#8a8a8a"),
}
# Inches. A lane is the room that an arrow gets where it passes a layer without stopping.
BOX_HEIGHT, LAYER_HEIGHT, BOX_GAP, LANE, MARGIN = 0.36, 0.8, 0.3, 0.28, 0.25
FONT, FONT_SIZE, LEGEND_SIZE, PADDING = "DejaVu Sans", 10, 9, 0.14
ARROW = "#9aa7b2"
LEFT_OUT = "Arrows that a longer path implies are left out."


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

    style = {"svg.hashsalt": "mindtune", "svg.fonttype": "path", "font.family": FONT}
    with matplotlib.rc_context(style):
        figure = plt.figure()
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        draw_layers(figure, axes, graph, families)
        with partial(svg) as temporary:
            figure.savefig(
                temporary, format="svg", facecolor="white", metadata={"Date": None, "Creator": None}
            )
        plt.close(figure)


def draw_layers(figure: Any, axes: Any, graph: Any, families: Mapping[str, str]) -> None:
    """Boxes, arrows and legend; the figure becomes as large as they are."""
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
    draw_arrows(axes, graph, x, rank)
    for name in graph:
        middle = (x[name], rank[name] * LAYER_HEIGHT)
        draw_box(axes, middle, (boxes[name], BOX_HEIGHT), families.get(name, "other"), name)
    width = max(
        draw_legend(axes, used, foot + 0.5), *(x[node] + slots[node] / 2 for node in layered)
    )
    axes.set(xlim=(-MARGIN, width + MARGIN), ylim=(bottom, top))
    figure.set_size_inches(width + 2 * MARGIN, bottom - top)


def mermaid(
    names: Sequence[str], edges: Sequence[tuple[str, str]], families: Mapping[str, str]
) -> str:
    """All rules and all arrows as a Mermaid flowchart, which code hosts draw inside Markdown."""
    used = [family for family in COLOURS if family in {families.get(n, "other") for n in names}]
    lines = ["flowchart TD"]
    lines += [f"    {name}({name}):::{families.get(name, 'other')}" for name in names]
    lines += [f"    {start} --> {end}" for start, end in sorted(edges)]
    lines += [
        f"    classDef {family} fill:{COLOURS[family][0]},stroke:{COLOURS[family][1]}"
        for family in used
    ]
    return "\n".join(lines) + "\n"
