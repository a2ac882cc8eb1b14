"""Tables, summary, findings and figure: from item scores alone, escaped, and never wider with more
runs.
"""

import csv
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from item_scores import binary_pair, item_scores, together
from markdown_it import MarkdownIt
from mindtune.evaluate import summary, tables
from mindtune.evaluate.compare import compare, system_values
from mindtune.evaluate.forest import forest
from mindtune.evaluate.items import write_items
from mindtune.records import sha256_file
from sealed import write_sealed

SCRIPT = Path(__file__).parents[3] / "scripts" / "evaluation_table.py"
SIGNATURES = {"accuracy": "letter|log-likelihood", "ROUGE-L": "tok:cjk|f"}
WRITTEN = {
    "csv": "e.csv", "markdown": "e.md", "latex": "e.tex", "summary": "s.md", "worse": "w.md",
    "seeds": "n.csv", "forest": "f.svg",
}  # fmt: skip

MAIN = {"variants": {"main": {"variant": "all runs", "seed": 42}}}


def run_items(run="main", loss=0.02, seed=1, prompts=0):
    """Item scores of a run: knowledge, and a dialogue suite with a floor. Runs with the same
    `prompts` share their base.
    """
    shared, own = np.random.default_rng(prompts), np.random.default_rng(seed)
    answers = binary_pair(np.random.default_rng(prompts), 1169, loss)
    base = shared.normal(20, 4, 60)
    replies = {
        "base": base,
        "tuned": base - 1 + own.normal(0, 1, 60),
        "floor:random": base - 10,
    }
    return together(
        [
            item_scores(answers, run=run),
            item_scores(replies, suite="dialogue", run=run, metric="ROUGE-L@zh", size=3),
        ]
    )


def rows_of(items):
    return system_values(items), compare(items)


def test_a_suite_is_one_sentence():
    items = run_items()
    found = list(summary.run_sentences(compare(items)))
    assert found == [
        "dialogue ROUGE-L (zh): 19.26 against 20.31, -1.05 (-1.33 to -0.77): worse (p < 0.001); "
        "smaller than 0.39 cannot be seen with n = 60 in 20 clusters",
        "knowledge: 66.7 against 68.3, -1.5 (-4.2 to 1.2): no detectable change; smaller than 3.8 "
        "cannot be seen with n = 1,169",
    ]


def test_everything_that_got_worse_is_named_with_what_is_shown_first():
    text = summary.worse(compare(run_items()))
    assert "2 of 2 comparisons got worse, 1 of them by an interval that excludes 0" in text
    assert text.index("ROUGE-L") < text.index("accuracy")
    assert "0 of 1" in summary.worse(compare(item_scores({"base": [0] * 20, "tuned": [1] * 20})))


def test_runs_are_compared_in_pairs_only_on_the_same_prompts():
    items = together([run_items(f"seed{n}", seed=n) for n in (42, 43, 44)])
    text = summary.summary(items, *rows_of(items), [])
    assert text.count("seed43 - seed42") == 2 and text.count("seed44 - seed42") == 2
    other = together([run_items("a"), run_items("b", prompts=9)])
    assert "b - a" not in summary.summary(other, *rows_of(other), [])


def test_systems_are_rows_and_no_table_grows_with_the_runs():
    items = together([run_items(f"seed{n}", seed=n) for n in range(12)])
    widths = {
        title: table.shape[1] for title, _, table in tables.sections(*rows_of(items), SIGNATURES)
    }
    assert max(widths.values()) == 7
    systems = {title: table for title, _, table in tables.sections(*rows_of(items), {})}
    names = list(systems["dialogue (zh): systems"]["system"])
    assert names[0] == "base" and names[-1] == "floor: random" and len(names) == 14


def test_bases_of_other_prompts_are_rows_of_their_own():
    items = together([run_items("a"), run_items("b", prompts=9)])
    systems = {title: table for title, _, table in tables.sections(*rows_of(items), {})}
    names = list(systems["dialogue (zh): systems"]["system"])
    assert names[:2] == ["base of a", "base of b"]


def test_a_column_of_systems_has_one_unit():
    shares = {"base": [0, 1] * 10, "tuned": [1, 1] * 10, "floor:chance": [0.25] * 20}
    scores = {"base": [20.0, 30.0] * 10, "tuned": [0.0] * 20, "floor:none": [0.0] * 20}
    items = together([item_scores(shares), item_scores(scores, suite="dialogue", metric="ROUGE-L")])
    found = {title: table for title, _, table in tables.sections(*rows_of(items), {})}
    assert list(found["knowledge: systems"]["accuracy"]) == ["50.0", "100.0", "25.0"]
    assert list(found["dialogue: systems"]["ROUGE-L"]) == ["25.00", "0.00", "0.00"]


def test_markdown_names_cannot_add_columns_or_markup():
    values, compared = rows_of(run_items("a|b <script>*x*"))
    html = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(tables.markdown(values, compared, SIGNATURES, {"dialogue": "Only <b>words</b>."}))
    )
    assert "<script>" not in html and "<em>" not in html
    assert "tuned: a|b &lt;script&gt;*x*" in html
    assert "<code>tok:cjk|f</code>" in html and "Only &lt;b&gt;words" in html


def test_latex_escapes_names_and_compiles_in_one_page_width(tmp_path):
    text = tables.latex(*rows_of(run_items("50%_a&b#1")), SIGNATURES, {})
    assert r"tuned: 50\%\_a\&b\#1" in text and "50%_a" not in text
    assert r"tok:cjk\textbar{}f" in text and r"95 \% interval" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
    if not (tex := shutil.which("pdflatex")):
        pytest.skip("pdflatex is not installed: whether the table compiles was not tried")
    page = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "t.tex").write_text(page + text + r"\end{document}", encoding="utf-8")
    done = subprocess.run(
        [tex, "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout[-2000:]


def test_the_forest_plot_is_well_formed_and_shows_every_difference():
    compared = compare(run_items("甲<b>"))
    root = ET.fromstring(forest(summary.plotted(compared)))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "knowledge accuracy" in texts and "-1.5 (-4.2 to 1.2)" in texts
    places = [
        float(node.get("x"))
        for node in root.iter("{http://www.w3.org/2000/svg}rect")
        if node.get("x")
    ]
    assert len(places) == 2 and all(300 <= x <= 680 for x in places)
    assert "too few clusters" in forest([])


def run_script(folder, *items, variants=MAIN, more=()):
    outputs = [part for name, file in WRITTEN.items() for part in (f"--{name}", file)]
    (folder / "v.json").write_text(json.dumps({"params": variants}), encoding="utf-8")
    command = [sys.executable, SCRIPT, "--items", *items, *outputs, "--record", "e.json"]
    command += ["--variants", "v.json", *more]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, encoding="utf-8")


def test_program_writes_all_forms_the_same_again(tmp_path):
    write_items(tmp_path / "i.parquet", run_items(), SIGNATURES)
    done = run_script(tmp_path, "i.parquet")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s.md").read_text(encoding="utf-8") in done.stdout
    with open(tmp_path / "e.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 + 2 + 2
    assert {row["signature"] for row in rows} == set(SIGNATURES.values())
    record = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    assert set(record["outputs"]) == set(WRITTEN.values())
    first = {file: (tmp_path / file).read_bytes() for file in (*WRITTEN.values(), "e.json")}
    assert run_script(tmp_path, "i.parquet").returncode == 0
    assert first == {file: (tmp_path / file).read_bytes() for file in first}


def test_a_record_of_an_earlier_version_stops_with_one_sentence(tmp_path):
    write_items(tmp_path / "i.parquet", run_items())
    done = run_script(tmp_path, "i.parquet", variants={})
    assert done.returncode == 2 and "since an earlier version wrote it" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "e.csv").exists()


def test_the_same_scores_twice_stop_with_one_sentence(tmp_path):
    write_items(tmp_path / "i.parquet", run_items())
    done = run_script(tmp_path, "i.parquet", "i.parquet")
    assert done.returncode == 2 and "stands there twice" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "e.csv").exists()


def test_the_summary_names_judges_and_dates(tmp_path):
    write_items(tmp_path / "i.parquet", run_items())
    outputs = {"i.parquet": sha256_file(tmp_path / "i.parquet")}
    facts = {"suite": "empathy", "note": "", "judges": {"b": "n*2", "a": "m-1"}}
    facts["dates"] = ["2026-11-27", "2026-11-28"]
    write_sealed(
        *(tmp_path / "s.json", "score_judged"), outputs=outputs, facts=facts, params={"run": "main"}
    )
    assert run_script(tmp_path, "i.parquet", more=["--made-by", "s.json"]).returncode == 0
    said = (tmp_path / "s.md").read_text(encoding="utf-8")
    line = "- empathy, run main: a (m-1), b (n\\*2) on 2026-11-27 to 2026-11-28\n"
    assert said.endswith(f"## Who judged\n\n{line}") and "not judged" not in said


def test_what_the_rules_of_a_suite_are_worth_stands_beside_its_numbers(tmp_path):
    write_items(tmp_path / "i.parquet", run_items())
    outputs = {"i.parquet": sha256_file(tmp_path / "i.parquet")}
    worth = {"labelled": 20, "found": 19, "recall": 0.95, "clear": 30, "false": 2}
    facts = {"suite": "knowledge", "note": "Few.", "rules": {"names_risk": worth}}
    write_sealed(tmp_path / "s.json", "score_suite", outputs=outputs, facts=facts)
    assert run_script(tmp_path, "i.parquet", more=["--made-by", "s.json"]).returncode == 0
    said = (
        "Few. Rules on a labelled sample, recall and false positives: "
        "names risk 0.95, 19 of 20 and 0.07, 2 of 30."
    )
    for file in ("e.md", "e.tex"):
        assert said in (tmp_path / file).read_text(encoding="utf-8")


def test_a_record_without_its_suite_is_one_sentence(tmp_path):
    path = tmp_path / "i.parquet"
    write_items(path, run_items())
    outputs = {"i.parquet": sha256_file(path)}
    for facts, status in (({"suite": "knowledge"}, 0), ({}, 2)):
        write_sealed(tmp_path / "s.json", "score_suite", outputs=outputs, facts=facts)
        done = run_script(tmp_path, "i.parquet", more=["--made-by", "s.json"])
        assert done.returncode == status, done.stderr
    assert "s.json, facts: there is no 'suite'" in done.stderr and done.stderr.count("\n") == 1
