"""Item scores: one Parquet file a run and suite, from which every table, gate and figure is made.

A row is one value of one item: COLUMNS. `model` is base, tuned, one of BASELINES or floor:NAME.
`cluster` is what was drawn together (a dialogue, a question's stem): intervals resample clusters. A
value that could not be scored is null, so that nothing disappears.

A metric is NAME, or NAME@STRATUM for a part of the items (a language, a subject). Its score is the
mean of its values. A metric that is not a mean is kept as what it is computed from, one row a part,
NAME:PART or NAME@STRATUM:PART (see parts.py).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mindtune.cli import UserError
from mindtune.evaluate.baselines import BASELINES
from mindtune.records import partial

KEYS = ["suite", "run", "model", "metric", "id"]
TEXTS = ["suite", "run", "model", "id", "cluster", "metric"]
COLUMNS = [*TEXTS, "value"]
FLOOR = "floor:"
MODELS = ("base", "tuned", *BASELINES)
SIGNATURES = b"signatures"


class Metric(NamedTuple):
    """A metric's name in its three pieces; stratum and part may be empty."""

    name: str
    stratum: str
    part: str

    def __str__(self) -> str:
        """As it stands in the column `metric`."""
        stratum = f"@{self.stratum}" if self.stratum else ""
        return self.name + stratum + (f":{self.part}" if self.part else "")


def split_metric(text: str) -> Metric:
    """The pieces of a metric as it stands in the column."""
    whole, _, part = text.partition(":")
    name, _, stratum = whole.partition("@")
    return Metric(name, stratum, part)


def as_frame(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows with exactly COLUMNS, texts as categories, values as float64 with NaN for null."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=COLUMNS)
    if missing := [column for column in COLUMNS if column not in frame]:
        raise UserError(f"item scores need the column {missing[0]}; they have {list(frame)}")
    frame = frame[COLUMNS].astype({"value": "float64"})
    for column in TEXTS:
        if frame[column].isna().any() or (frame[column] == "").any():
            raise UserError(f"item scores: a row has no {column}; every row needs one")
        frame[column] = frame[column].astype(str).astype("category")
    return frame


def check_models(frame: pd.DataFrame) -> None:
    """Every model is one of MODELS or a floor."""
    for model in frame["model"].cat.categories:
        if model not in MODELS and not model.startswith(FLOOR):
            raise UserError(
                f"item scores: model is {model!r}; expected {', '.join(MODELS)} or {FLOOR}NAME"
            )


def check_values(frame: pd.DataFrame) -> None:
    """Every value is finite or null."""
    if np.isinf(frame["value"]).any():
        row = frame[np.isinf(frame["value"])].iloc[0]
        raise UserError(
            f"item scores: {row['metric']} of {row['id']} is {row['value']}; a value is finite, or "
            "null when it could not be scored"
        )


def sort_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in the order of KEYS; a key that stands there twice is a UserError."""
    frame = frame.sort_values(KEYS, kind="stable", ignore_index=True)
    same = np.ones(max(len(frame) - 1, 0), dtype=bool)
    for column in KEYS:
        codes = frame[column].cat.codes.to_numpy()
        same &= codes[1:] == codes[:-1]
    if same.any():
        row = frame.iloc[int(same.argmax())]
        raise UserError(
            f"item scores: {row['metric']} of {row['id']} ({row['model']}, run {row['run']}) "
            f"stands "
            "there twice; score every item once"
        )
    return frame


def write_items(
    path: str | Path,
    rows: pd.DataFrame | Iterable[Mapping[str, Any]],
    signatures: Mapping[str, str] | None = None,
) -> int:
    """Write item scores sorted by KEYS, whole or not at all, and return the number of rows.

    `signatures` says how each metric is computed, {NAME: text}; it is kept in the file's schema, so
    that a table can show it. The order of names is the order of a table's rows.
    Equal rows in any order give equal bytes. Values are float64; None and NaN become null. A
    duplicate (suite, run, model, metric, id), an unknown model or an infinite value is a UserError.
    """
    frame = as_frame(rows)
    check_models(frame)
    check_values(frame)
    frame = sort_rows(frame)
    arrays = [pa.array(frame[column].astype(object), pa.string()) for column in TEXTS]
    values = pa.array(frame["value"].to_numpy(), pa.float64(), from_pandas=True)
    with partial(path) as temporary:
        table = pa.table([*arrays, values], names=COLUMNS)
        said = json.dumps(dict(signatures or {}), ensure_ascii=False).encode()
        table = table.replace_schema_metadata({SIGNATURES: said})
        pq.write_table(table, temporary, compression="zstd", row_group_size=1 << 20)
    return len(frame)


def read_items(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The item scores of several files as one frame with COLUMNS, sorted by KEYS, texts as
    categories. A file that is no such table, or a row that two files hold, is a UserError.
    """
    tables = []
    for path in paths:
        try:
            table = pq.read_table(path, read_dictionary=TEXTS, partitioning=None)
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{path} is no Parquet file ({error}); score that suite again"
            ) from None
        if table.column_names != COLUMNS:
            raise UserError(
                f"{path} has the columns {table.column_names}; expected {COLUMNS}; score that "
                "suite again"
            )
        tables.append(table)
    if not tables:
        raise UserError("there is no file of item scores; score at least one suite")
    return sort_rows(as_frame(pa.concat_tables(tables).unify_dictionaries().to_pandas()))


def read_signatures(paths: Sequence[str | Path]) -> dict[str, str]:
    """How each metric is computed, as `write_items` was told, from several files of item scores."""
    found: dict[str, str] = {}
    for path in paths:
        said = pq.read_schema(path).metadata or {}
        found |= json.loads(said.get(SIGNATURES, b"{}"))
    return found
