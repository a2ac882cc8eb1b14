"""Item scores of made-up systems for tests."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from mindtune.evaluate.items import COLUMNS, as_frame


def item_scores(
    values: Mapping[str, Sequence[float | None]],
    *,
    suite: str = "knowledge",
    run: str = "main",
    metric: str = "accuracy",
    size: int = 1,
) -> pd.DataFrame:
    """{model: its values}, of items 题0, 题1...; each cluster has `size` of them."""
    rows = [
        (suite, run, model, f"题{number:05}", f"题干{number // size:05}", metric, value)
        for model, column in values.items()
        for number, value in enumerate(column)
    ]
    return as_frame(pd.DataFrame(rows, columns=COLUMNS))


def together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several item scores as one table."""
    return as_frame(pd.concat(frames))


def binary_pair(
    rng: np.random.Generator, n: int, loss: float, right: float = 0.7, changed: float = 0.2
) -> dict[str, np.ndarray]:
    """Base and tuned answers, 0 or 1, of which a share `changed` differ; tuned is expected to lose
    `loss`.
    """
    base = rng.random(n) < right
    draw = rng.random(n)
    lost = base & (draw < (changed + loss) / 2 / right)
    gained = ~base & (draw < max(changed - loss, 0) / 2 / (1 - right))
    return {"base": base.astype(float), "tuned": (base & ~lost | gained).astype(float)}
