"""Item scores of the dialogue suite: base, tuned and floors, each reply in its own language."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mindtune.evaluate.floors import floors
from mindtune.evaluate.items import COLUMNS, Metric, split_metric
from mindtune.evaluate.metrics import DISTINCT, distinct, several_values
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


def floor_values(
    floors: Mapping[str, Sequence[Sequence[str | None]]], references: Sequence[str], threads: int
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each floor's name with {metric or part: its mean over the floor's draws, one value a reply};
    NaN where it has no reply.
    """
    drawn = [[reply or "" for reply in draw] for draws in floors.values() for draw in draws]
    values = iter(several_values(drawn, references, threads))
    for floor, draws in floors.items():
        mine = [next(values) for _ in draws]
        lacking = np.array([reply is None for reply in draws[0]])
        if not lacking.all():
            means = {name: np.mean([each[name] for each in mine], axis=0) for name in mine[0]}
            yield floor, {name: np.where(lacking, np.nan, mean) for name, mean in means.items()}


def model_values(
    replies: Mapping[str, Sequence[Row]], threads: int
) -> dict[str, dict[str, np.ndarray]]:
    """{model: the values of its replies}. Models with the same references are scored together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for model, rows in replies.items():
        together.setdefault(tuple(row["reference"] for row in rows), []).append(model)
    found = {}
    for references, models in together.items():
        texts = [[row["reply"] for row in replies[model]] for model in models]
        found |= dict(zip(models, several_values(texts, references, threads), strict=True))
    return {model: found[model] for model in replies}


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
    replies: Mapping[str, Sequence[Row]],
    run: str,
    fixed_line: Mapping[str, str],
    seed: int,
    threads: int = 1,
) -> pd.DataFrame:
    """Item scores of every model, {"base": rows, "tuned": rows, ...} of equal prompts in equal
    order, and of the floors, which there are from two dialogues on. Baselines may lack some rows.
    """
    frames: list[pd.DataFrame] = []
    about = {"suite": "dialogue", "run": run}
    for model, values in model_values(replies, threads).items():
        rows = replies[model]
        truncated = [row["finish_reason"] == "length" for row in rows]
        values["truncated"] = np.array(truncated, dtype=float)
        frames += [*frame(about | {"model": model}, rows, values)]
        frames.append(corpus_frame(about | {"model": model}, rows))
    some = floor_rows(replies["base"], seed)
    drawn = floors(some, fixed_line, seed)
    for floor, values in floor_values(drawn, [row["reference"] for row in some], threads):
        frames += frame(about | {"model": floor}, some, values)
    return pd.concat(frames, ignore_index=True)
