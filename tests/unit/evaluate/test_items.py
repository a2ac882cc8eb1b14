"""Item scores: equal rows give equal bytes, and what is no score is refused by name."""

import pandas as pd
import pytest
from mindtune.cli import UserError
from mindtune.evaluate.items import Metric, read_items, read_signatures, split_metric, write_items

ROW = {
    "suite": "知识",
    "run": "main",
    "model": "base",
    "id": "题1",
    "cluster": "题干1",
    "metric": "accuracy",
    "value": 1,
}
ROWS = [
    ROW | {"model": model, "id": f"题{number}", "metric": metric, "value": value}
    for model in ("base", "tuned")
    for number, value in ((1, 1), (2, 0), (3, None))
    for metric in ("accuracy", "BLEU@zh:correct_1")
]


def test_equal_rows_in_any_order_give_equal_bytes(tmp_path):
    said = {"accuracy": "letter|log-likelihood"}
    assert write_items(tmp_path / "a.parquet", ROWS, said) == 12
    write_items(tmp_path / "b.parquet", pd.DataFrame(ROWS[::-1]), said)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    found = read_items([tmp_path / "a.parquet"])
    assert found["value"].isna().sum() == 4, "what could not be scored is kept"
    assert read_signatures([tmp_path / "a.parquet"]) == said


def test_a_metrics_name_has_three_pieces():
    assert split_metric("BLEU@zh:correct_1") == Metric("BLEU", "zh", "correct_1")
    assert split_metric("accuracy") == Metric("accuracy", "", "")
    assert str(Metric("accuracy", "教师", "")) == "accuracy@教师"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([*ROWS, ROWS[0]], "accuracy of 题1 (base, run main) stands there twice"),
        ([ROW | {"model": "other"}], "model is 'other'"),
        ([ROW | {"value": float("inf")}], "accuracy of 题1 is inf"),
        ([ROW | {"cluster": None}], "a row has no cluster"),
        ([ROW | {"id": ""}], "a row has no id"),
    ],
)
def test_what_is_no_item_score_is_refused(tmp_path, rows, sentence):
    with pytest.raises(UserError, match="item scores") as error:
        write_items(tmp_path / "a.parquet", rows)
    assert sentence in str(error.value)
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_item_scores_are_refused(tmp_path):
    (tmp_path / "text.parquet").write_text("睡不着")
    with pytest.raises(UserError, match=r"text\.parquet is no Parquet file"):
        read_items([tmp_path / "text.parquet"])
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"other\.parquet has the columns"):
        read_items([tmp_path / "other.parquet"])
    write_items(tmp_path / "a.parquet", ROWS)
    with pytest.raises(UserError, match="stands there twice"):
        read_items([tmp_path / "a.parquet", tmp_path / "a.parquet"])
    with pytest.raises(UserError, match="no file of item scores"):
        read_items([])
