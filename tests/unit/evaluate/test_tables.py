"""The evaluation table: one row per run, system and metric; readable, escaped, and only of
comparable runs.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

from markdown_it import MarkdownIt
from mindtune.evaluate import tables
from sealed import write_sealed

SCRIPT = Path(__file__).parents[3] / "scripts" / "evaluation_table.py"
SIGNATURE = "nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:2.6.0"


def facts(base: float, tuned: float) -> dict:
    """Facts of a scores record, as score_dialogue.py writes them."""

    def row(system: str, metric: str, value: float, signature: str, half: float | None) -> dict:
        bounds = (
            {"low": None, "high": None}
            if half is None
            else {"low": value - half, "high": value + half}
        )
        sizes = {"n": 58, "n_dialogues": 12}
        return (
            {"system": system, "metric": metric, "value": value, "signature": signature}
            | bounds
            | sizes
        )

    return {
        "suite": "dialogue",
        "rows": [
            row("base", "BLEU", base, SIGNATURE, 1.0),
            row("base", "empty", 3, "count", None),
            row("tuned", "BLEU", tuned, SIGNATURE, 1.0),
            row("tuned", "empty", 0, "count", None),
            row("floor:random", "BLEU", 2.23, SIGNATURE, 0.5),
        ],
        "paired": [
            {
                "metric": "BLEU",
                "difference": tuned - base,
                "low": 0.5,
                "high": 3.5,
                "p": 0.0004,
                "n_dialogues": 12,
            }
        ],
    }


def test_long_table_has_a_row_per_run_system_and_metric():
    long = tables.long_table([("main", facts(3.0, 5.0)), ("seed7", facts(3.0, 4.5))])
    assert len(long) == 2 * 6 and list(long.columns) == tables.COLUMNS
    difference = long[(long["run"] == "seed7") & (long["system"] == "tuned-base")].iloc[0]
    assert (difference["value"], difference["n"], difference["signature"]) == (1.5, 58, SIGNATURE)
    assert long["n"].notna().all() and long["signature"].notna().all()


def test_runs_on_the_same_prompts_share_a_table_and_others_do_not():
    long = tables.long_table(
        [("main", facts(3.0, 5.0)), ("other_data", facts(9.0, 9.5)), ("seed7", facts(3.0, 4.5))]
    )
    groups = [list(dict.fromkeys(group["run"])) for group in tables.comparable_runs(long)]
    assert groups == [["main", "seed7"], ["other_data"]]


def test_wide_table_shows_value_interval_difference_floor_and_n():
    wide = tables.wide_table(tables.long_table([("main", facts(3.0, 5.0))])).set_index("metric")
    assert wide.loc["BLEU"].to_dict() == {
        "base": "3.00 (2.00 to 4.00)",
        "tuned: main": "5.00 (4.00 to 6.00)",
        "main - base": "+2.00 (0.50 to 3.50), p < 0.001",
        "floor: random": "2.23 (1.73 to 2.73)",
        "n": "58 in 12",
    }
    assert wide.loc["empty", "base"] == "3", "counts stay whole"


def test_no_negative_zero():
    assert tables.plain(-0.0004, 2) == "0.00"


def test_markdown_is_one_table_whose_names_cannot_add_columns_or_markup():
    long = tables.long_table([("a|b <script>*x*", facts(3.0, 5.0))])
    html = MarkdownIt("commonmark").enable("table").render(tables.markdown(long))
    assert html.count("<table>") == 1 and html.count("<th ") == 6
    assert "<script>" not in html and "<em>" not in html
    assert "tuned: a|b &lt;script&gt;*x*" in html
    assert f"<code>{SIGNATURE}</code>" in html
    assert "not the quality of counselling" in html


def test_latex_escapes_names_and_signatures():
    text = tables.latex(tables.long_table([("50%_a&b#1", facts(3.0, 5.0))]))
    assert r"tuned: 50\%\_a\&b\#1" in text and r"50%_a" not in text
    assert r"nrefs:1\textbar{}case:mixed" in text and r"95 \% interval" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    body = [line for line in text.splitlines() if line.startswith("BLEU &")]
    assert len(body) == 1 and body[0].count(" & ") == 5


def run_script(folder: Path, scores: list[str], runs: list[str]) -> subprocess.CompletedProcess:
    outputs = ["--csv", "e.csv", "--markdown", "e.md", "--latex", "e.tex", "--record", "e.json"]
    command = [sys.executable, SCRIPT, "--scores", *scores, "--runs", *runs, *outputs]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, encoding="utf-8")


def test_program_writes_all_forms_and_prints_the_table(tmp_path: Path):
    write_sealed(tmp_path / "s.json", facts=facts(3.0, 5.0))
    done = run_script(tmp_path, ["s.json"], ["main"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "e.md").read_text(encoding="utf-8") in done.stdout
    with open(tmp_path / "e.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 and rows[1] | {"low": "", "value": "3", "p": ""} == rows[1]
    record = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert record["stage"] == "evaluation_table" and set(record["outputs"]) == {
        "e.csv",
        "e.md",
        "e.tex",
    }


def test_wrong_input_stops_with_one_sentence(tmp_path: Path):
    write_sealed(tmp_path / "s.json", facts=facts(3.0, 5.0))
    write_sealed(tmp_path / "merge.json", facts={"shards": 8})
    text = (tmp_path / "s.json").read_text(encoding="utf-8")
    (tmp_path / "forged.json").write_text(text.replace("5.0", "55.0"), encoding="utf-8")
    for scores, runs, sentence in (
        (["s.json"], ["main", "seed7"], "1 --scores but 2 --runs"),
        (["forged.json"], ["main"], "forged.json is not as a_stage wrote it"),
        (["merge.json"], ["main"], "merge.json is no scores record"),
        (["s.json", "s.json"], ["main", "main"], "already has scores of the suite dialogue"),
    ):
        done = run_script(tmp_path, scores, runs)
        assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / "e.csv").exists()
