"""Item scores of the dialogue suite: base, tuned and floors, each reply in its own language."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mindtune.evaluate.floors import floors
from mindtune.evaluate.items import COLUMNS, Metric, split_metric
from mindtune.evaluate.metrics import DISTINCT, distinct, reply_values
from mindtune.evaluate.tokens import is_chinese

# Replies that floors are computed for; more would not move a floor and would take longer than the
# two systems.
MOST_FLOOR_REPLIES = 2000
# The id and the cluster of a value that belongs to all replies together.
WHOLE = "corpus"

Row = Mapping[str, Any]


def floor_rows(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows that floors are computed for: whole dialogues, drawn by seed, in their order."""
    if len(rows) <= MOST_FLOOR_REPLIES:
        return list(rows)
    names = sorted({row["dialogue"] for row in rows})
    random.Random(seed).shuffle(names)
    sizes = pd.Series([row["dialogue"] for row in rows]).value_counts()
    fitting = int((np.cumsum([sizes[name] for name in names]) <= MOST_FLOOR_REPLIES).sum())
    chosen = set(names[: max(fitting, 2)])
    return [row for row in rows if row["dialogue"] in chosen]


def floor_values(drawn: Sequence[Sequence[str | None]], rows: Sequence[Row]) -> dict[str, Any]:
    """{metric or part: its mean over a floor's draws, one value a reply}; NaN where a floor has no
    reply.
    """
    places = [place for place, reply in enumerate(drawn[0]) if reply is not None]
    found: dict[str, np.ndarray] = {}
    for draw in drawn if places else ():
        replies = [str(draw[place]) for place in places]
        values = reply_values(replies, [rows[place]["reference"] for place in places])
        for name, column in values.items():
            total = found.setdefault(name, np.full(len(rows), np.nan))
            total[places] = np.nan_to_num(total[places]) + column / len(drawn)
    return found


def frame(
    about: Mapping[str, str], rows: Sequence[Row], values: Mapping[str, np.ndarray]
) -> Iterator[pd.DataFrame]:
    """Item scores of one system, a frame for every metric or part and language."""
    ids = np.array([row["id"] for row in rows], dtype=object)
    clusters = np.array([row["dialogue"] for row in rows], dtype=object)
    chinese = np.array([is_chinese(row["reference"]) for row in rows])
    for language, mine in (("zh", chinese), ("en", ~chinese)):
        for text, column in values.items() if mine.any() else ():
            metric = Metric(split_metric(text).name, language, split_metric(text).part)
            columns = {"id": ids[mine], "cluster": clusters[mine], "value": column[mine]}
            yield pd.DataFrame({**about, "metric": str(metric), **columns})[COLUMNS]


def corpus_frame(about: Mapping[str, str], rows: Sequence[Row]) -> pd.DataFrame:
    """The values of a system that belong to all its replies in a language together."""
    found = []
    for language in ("zh", "en"):
        mine = [r["reply"] for r in rows if is_chinese(r["reference"]) is (language == "zh")]
        found += [
            {**about, "id": WHOLE, "cluster": WHOLE}
            | {"metric": str(Metric(name, language, "")), "value": distinct(mine, order)}
            for name, order in (DISTINCT.items() if mine else ())
        ]
    return pd.DataFrame(found, columns=COLUMNS)


def dialogue_items(
    replies: Mapping[str, Sequence[Row]], run: str, fixed_line: Mapping[str, str], seed: int
) -> pd.DataFrame:
    """Item scores of every model, {"base": rows, "tuned": rows, ...} of equal prompts in equal
    order, and of the floors, which there are from two dialogues on. Baselines may lack some rows.
    """
    frames: list[pd.DataFrame] = []
    about = {"suite": "dialogue", "run": run}
    for model, rows in replies.items():
        values = reply_values([r["reply"] for r in rows], [r["reference"] for r in rows])
        truncated = [row["finish_reason"] == "length" for row in rows]
        values["truncated"] = np.array(truncated, dtype=float)
        frames += [*frame(about | {"model": model}, rows, values)]
        frames.append(corpus_frame(about | {"model": model}, rows))
    some = floor_rows(replies["base"], seed)
    for floor, drawn in floors(some, fixed_line, seed).items():
        frames += frame(about | {"model": floor}, some, floor_values(drawn, some))
    return pd.concat(frames, ignore_index=True)
