"""The CHART checklist names every item, and a record or the authors for each."""

import re
import subprocess
import sys
from pathlib import Path

from mindtune.evaluate.chart_checklist import AUTHORS, ITEMS, checklist
from mindtune.records import read_json
from sealed import write_sealed

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
REPORT = "results/report"


def record(stage, **facts):
    return {"stage": stage, "facts": facts}


def test_each_line_is_linked_to_a_record_or_left_to_the_authors():
    judges = {"a": {"model": "m", "dates": ["2026-11-28"]}}
    said = checklist(
        {
            "results/judge/judge_replies.json": record("judge_replies", judges=judges),
            "results/runs/main/scores/empathy.json": record("score_judged"),
        },
        REPORT,
    )
    lines = [line for line in said.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(ITEMS)
    by_name = {line.split(" | ")[1]: line for line in lines}
    assert (
        "[results/runs/main/scores/empathy.json](<../runs/main/scores/empathy.json>)"
        in by_name["performance evaluation"]
    )
    assert "(<../judge/judge_replies.json>)" in by_name["prompt engineering"]
    assert by_name["funding"].endswith(f"{AUTHORS} |")
    assert "Judges: a (m) on 2026-11-28." in said


def test_without_a_judge_it_says_so():
    assert "Not judged: no endpoint configured." in checklist({}, REPORT)


def test_every_stage_that_answers_is_one_that_a_program_writes():
    programs = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS.glob("*.py"))
    named = {stage for _, _, stages in ITEMS for stage in stages}
    assert not [stage for stage in named if not re.search(rf'^ +"{stage}",$', programs, re.M)]


def test_the_program_writes_links_that_lead_to_records(tmp_path):
    path = Path("results/runs/main/scores/心.json")
    (tmp_path / path).parent.mkdir(parents=True)
    write_sealed(tmp_path / path, "score_judged")
    (tmp_path / REPORT).mkdir()
    words = [sys.executable, SCRIPTS / "write_chart.py", "--records", str(path)]
    words += ["--chart", f"{REPORT}/chart.md", "--record", f"{REPORT}/write_chart.json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    links = re.findall(r"\(<(.*?)>\)", (tmp_path / REPORT / "chart.md").read_text(encoding="utf-8"))
    assert links == ["../runs/main/scores/心.json"]
    assert (tmp_path / REPORT / links[0]).is_file()
    made = read_json(tmp_path / REPORT / "write_chart.json")
    assert made["facts"]["7a, 7b"] == [path.as_posix()] and made["facts"]["12b"] == AUTHORS
    assert list(made["inputs"]) == [path.as_posix()]
    assert list(made["outputs"]) == [f"{REPORT}/chart.md"]
