"""The programs around the sheets, as make calls them: a sheet is written, filled in and scored."""

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mindtune.evaluate.items import write_items
from mindtune.records import read_json, read_jsonl
from rated import rated_run

ROOT = Path(__file__).resolve().parents[3]
RUBRICS = ("empathy", "practicality")
OUT = ("csv", "markdown", "answers", "record")


def blind_sheet(work, *more):
    program = ROOT / "scripts/tools/blind_sheet.py"
    flags = ["--workdir", work, "--run", "main", "--rubrics", *RUBRICS, "--seed", "7", *more]
    return subprocess.run([sys.executable, program, *flags], capture_output=True, text=True)


def score(work, sheets="back", *more):
    tables = {name: f"results/tables/raters.{name}" for name in OUT}
    flags = ["--sheets", sheets, "--key", "results/raters/main/key.json", *more]
    flags += ["--made-by", "results/raters/main/blind_sheet.json"]
    flags += [word for name, path in tables.items() for word in (f"--{name}", path)]
    return subprocess.run(
        [sys.executable, ROOT / "scripts/score_raters.py", *flags],
        cwd=work, capture_output=True, text=True,
    )  # fmt: skip


def fill(work, rater, answers):
    """Fill in a rater's sheet: the answers to each question, by the row's model."""
    key = read_json(work / "results/raters/main/key.json")
    models = {row["row"]: row["model"] for row in key["hidden"]}
    text = (work / f"results/raters/main/send/{rater}.csv").read_bytes().decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    for place, row in enumerate(rows[2:]):
        row[6:-1] = [answers(models[row[2]], place) for _ in row[6:-1]]
    (work / "back").mkdir(exist_ok=True)
    with open(work / f"back/{rater}.csv", "w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A working directory whose two raters found every tuned reply better, and differed on one."""
    work = rated_run(tmp_path_factory.mktemp("rated"), dialogues=12)
    done = blind_sheet(work)
    assert done.returncode == 0, done.stderr
    fill(work, "r1", lambda model, place: str(int(model == "tuned")))
    fill(work, "r2", lambda model, place: "１" if model == "tuned" or place < 2 else "０")
    return work


@pytest.fixture
def rated(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "work")


def test_what_people_found_becomes_a_table_with_a_record(rated):
    done = score(rated)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(rated / "results/tables/raters.csv")
    mine = table[table["question"] == "empathy.names_feeling"].set_index("measure")
    assert mine.loc["tuned", "value"] == 1
    assert mine.loc["base", "value"] == pytest.approx(1 / 48, abs=1 / 48)
    assert mine.loc["tuned-base", "low"] > 0.5
    assert mine.loc["alpha", "value"] > 0.9 and mine.loc["alpha", "who"] == "human-human"
    assert (mine["raters"] == 2).all() and (mine["clusters"] == 12).all()
    bad = table[table["question"] == "empathy.no_playing_down"].set_index("measure")
    assert bad.loc["tuned-base", "value"] < -0.9  # there a yes is the worse answer
    record = read_json(rated / "results/tables/raters.record")
    assert record["facts"]["raters"] == ["r1", "r2"] and record["facts"]["judges"] == []
    assert "back/r1.csv" in record["inputs"]
    said = list(read_jsonl(rated / "results/tables/raters.answers"))
    assert {"question", "id", "model", "passes"} == said[0].keys()
    yes = {
        row["model"] for row in said if row["question"] == "empathy.names_feeling" and row["passes"]
    }
    assert yes == {"tuned"} and len(said) == 10 * 48 - 10  # one reply of ten questions is a tie
    assert "not judged" in (rated / "results/tables/raters.markdown").read_text(encoding="utf-8")


def test_equal_sheets_give_equal_bytes(rated):
    first = [score(rated) and (rated / f"results/tables/raters.{n}").read_bytes() for n in OUT]
    second = [score(rated) and (rated / f"results/tables/raters.{n}").read_bytes() for n in OUT]
    assert first == second
    sent = sorted((rated / "results/raters/main/send").iterdir())
    before = [path.read_bytes() for path in sent]
    (rated / "results/raters/main").rename(rated / "elsewhere")
    assert blind_sheet(rated).returncode == 0
    assert [path.read_bytes() for path in sent] == before


def test_a_judge_stands_beside_the_people(rated):
    """One that says what the first rater said."""
    key = read_json(rated / "results/raters/main/key.json")
    rows = [
        {
            "suite": "empathy", "run": "main", "model": row["model"], "id": row["id"],
            "cluster": row["cluster"], "metric": metric,
            "value": float((row["model"] == "tuned") == good),
        }
        for row in key["hidden"]
        for metric, good in (("names_feeling", True), ("no_playing_down", False))
    ]  # fmt: skip
    write_items(rated / "empathy.parquet", rows)
    done = score(rated, "back", "--items", "empathy.parquet")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(rated / "results/tables/raters.csv")
    judged = table[table["who"] == "judge-human"]
    assert set(judged["question"]) == {"empathy.names_feeling", "empathy.no_playing_down"}
    raw = judged[judged["measure"] == "raw"]["value"]
    assert raw.tolist() == pytest.approx([(1 + 47 / 48) / 2] * 2)  # 48 replies, one of them differs
    assert "judged by judge" in done.stdout


def test_the_key_is_not_among_what_is_sent_and_nobody_else_may_read_it(rated):
    folder = rated / "results/raters/main"
    assert sorted(path.name for path in (folder / "send").iterdir()) == [
        "r1.csv",
        "r2.csv",
        "sheet.html",
    ]
    assert (folder / "key.json").stat().st_mode & 0o077 == 0
    record = read_json(folder / "blind_sheet.json")
    assert set(record["outputs"]) == {"results/raters/main/key.json", "results/raters/main/send"}


# {what is wrong: (what was done, arguments of scoring, what the sentence says)}
WRONG = {
    "one rater": (lambda work: (work / "back/r2.csv").unlink(), (), "two raters or more"),
    "no folder": (lambda work: None, ("nowhere",), "nowhere is no CSV file and no folder with one"),
    "no key": (
        lambda work: (work / "results/raters/main/key.json").unlink(),
        (),
        "key.json is not there",
    ),
    "another key": (
        lambda work: (work / "results/raters/main/key.json").write_text("[]"),
        (),
        "is no key of a rating sheet",
    ),
    "new replies": (
        lambda work: rated_run(work, dialogues=13),
        (),
        "was made again since the sheet",
    ),
}


@pytest.mark.parametrize(("change", "more", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_scored_is_one_sentence(rated, change, more, said):
    change(rated)
    done = score(rated, *more)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (rated / "results/tables/raters.csv").exists()


def test_a_sheet_that_was_sent_is_not_overwritten(rated):
    done = blind_sheet(rated)
    assert done.returncode == 2 and "key.json is there already" in done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--pairs", "25"], "24 pairs of replies can be shown"),
        (["--pairs", "0"], "PAIRS is 0"),
        (["--raters", "1"], "RATERS is 1"),
        (["--run", "other"], "results/runs/other/scores/dialogue.json is not there"),
        (["--rubrics", "empaty"], "the nearest is empathy"),
    ],
)
def test_what_no_sheet_can_be_made_of_is_one_sentence(tmp_path, more, said):
    rated_run(tmp_path, dialogues=12)
    done = blind_sheet(tmp_path, *more)
    assert done.returncode == 2 and said in done.stderr
    assert not (tmp_path / "results/raters").exists()
