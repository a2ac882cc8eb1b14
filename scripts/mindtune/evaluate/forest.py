"""A forest plot of differences as SVG: every metric's difference with its 95 % interval.

Written by hand and not by a plotting library: its text is text, it has no fonts in it, and equal
rows give equal bytes.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import floor, log10
from typing import Any

from mindtune.evaluate.wording import gain, in_points, interval, is_shown, label, number

WIDTH, LEFT, RIGHT, ROW, TOP, BOTTOM = 900, 300, 220, 24, 44, 40
COLOURS = {1: "#1f6f78", -1: "#b3452c", 0: "#5b6b79"}
STYLE = "font: 13px system-ui, 'Noto Sans CJK SC', 'PingFang SC', sans-serif"

Row = Mapping[str, Any]


def scaled(row: Row, key: str) -> float:
    """A number of a row in points."""
    return row[key] * (100 if in_points(row) else 1)


def step(span: float) -> float:
    """A round distance of the axis's marks, for about six of them."""
    rough = span / 6
    unit = 10.0 ** floor(log10(rough))
    return next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough)


def axis(rows: Sequence[Row]) -> tuple[float, float, float]:
    """Lowest and highest mark and their distance; 0 is always among them."""
    low = min(0.0, *(scaled(row, "low") for row in rows))
    high = max(0.0, *(scaled(row, "high") for row in rows))
    width = step(high - low if high > low else 1.0)
    return floor(low / width) * width, -floor(-high / width) * width or width, width


def draw_row(row: Row, number_: int, place: Any, several: bool) -> list[str]:
    """One difference: its name, its interval, its value, and the numbers."""
    y = TOP + ROW * number_ + ROW // 2
    colour = COLOURS[(gain(row) > 0) - (gain(row) < 0)] if is_shown(row) else COLOURS[0]
    run = f"{row['run']}: " if several else ""
    name = escape(f"{run}{row['suite']} {label(row)}")
    weight = ' font-weight="600"' if row["primary"] else ""
    low, value, high = (place(scaled(row, key)) for key in ("low", "difference", "high"))
    said = escape(number(row, "difference", "+") + interval(row))
    return [
        f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end"{weight}>{name}</text>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
        f'stroke-width="2"/>',
        f'<rect x="{value - 4:.1f}" y="{y - 4}" width="8" height="8" fill="{colour}"/>',
        f'<text x="{WIDTH - RIGHT + 12}" y="{y + 4}">{said}</text>',
    ]


def draw_axis(low: float, high: float, width: float, bottom: int, place: Any) -> list[str]:
    """The marks of the axis, with a line at 0."""
    parts = []
    for count in range(round((high - low) / width) + 1):
        mark = low + count * width
        x, zero = place(mark), abs(mark) < width / 2
        stroke = "#1d2a35" if zero else "#dde4ea"
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="{stroke}"/>'
        )
        said = f"{0.0 if zero else mark:g}"
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{said}</text>')
    return parts


def forest(rows: Sequence[Row]) -> str:
    """The plot of `compare.compare` rows that have an interval; without any, a figure that says so.

    Colour: better and worse where the interval excludes 0, else grey. Bold: primary metrics.
    """
    height = TOP + ROW * max(len(rows), 1) + BOTTOM
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" style="{STYLE}">'
    )
    title = "tuned - base in points, with 95 % intervals"
    parts = [
        head,
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    if not rows:
        said = "no difference has an interval: there are too few clusters"
        return "\n".join([*parts, f'<text x="20" y="{TOP}">{said}</text>', "</svg>", ""])
    low, high, width = axis(rows)

    def place(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    parts.append(f'<text x="{LEFT}" y="24" font-weight="600">{title}</text>')
    parts += draw_axis(low, high, width, height - BOTTOM, place)
    several = len({row["run"] for row in rows}) > 1
    for count, row in enumerate(rows):
        parts += draw_row(row, count, place, several)
    return "\n".join([*parts, "</svg>", ""])
