"""Figures as SVG with equal bytes for equal data: no date, no random ids, text kept as text."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mindtune.records import partial

BLUE, ORANGE, GREY = "#2f6690", "#d1495b", "#8d99ae"


@contextmanager
def figure(path: Path, width: float = 6.4, height: float = 3.2) -> Iterator[Any]:
    """Yield matplotlib axes of a figure that is saved to `path` when the block ends; sizes in
    inches.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {
        "svg.hashsalt": "mindtune",
        "svg.fonttype": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with pyplot.rc_context(style):
        sheet, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
        yield axes
        with partial(path) as temporary:
            sheet.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(sheet)


def histogram(path: Path, values: Sequence[int], limit: int, label: str, counted: str) -> None:
    """Histogram of whole numbers between 0 and `limit`, which is drawn as a line."""
    with figure(path) as axes:
        axes.hist(values, bins=40, range=(0, limit), color=BLUE)
        axes.axvline(limit, color=ORANGE, linewidth=1)
        axes.set_xlabel(f"{label} (limit {limit})")
        axes.set_ylabel(counted)


def loss_curve(
    path: Path, train: Sequence[tuple[int, float]], dev: Sequence[tuple[int, float]]
) -> None:
    """Loss by optimizer step: (step, loss) points of the training data and of the dev split."""
    with figure(path) as axes:
        axes.plot(*zip(*train, strict=True), color=BLUE, linewidth=1.2, label="train")
        if dev:
            axes.plot(
                *zip(*dev, strict=True),
                color=ORANGE,
                marker="o",
                markersize=3,
                linewidth=1.2,
                label="dev",
            )
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss (nats per token)")
        axes.legend(frameon=False)
