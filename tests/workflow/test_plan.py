"""make plan and make why say what Snakemake would run, by the keys that somebody edited."""

import os
import subprocess
import sys

import pytest

BENCHMARK = "s\th:m:s\n9600.0\t2:40:00\n"


def tool(project, name, *words, edit="{}"):
    """(exit status, what a tool printed) for the project's demo with an edit laid over it."""
    project.edit.write_text(edit, encoding="utf-8")
    files = [str(project.root / "config/demo.yaml"), str(project.edit)]
    command = [sys.executable, str(project.root / f"scripts/tools/{name}.py")]
    command += ["--workdir", str(project.work), "--configfile", *files, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    finally:
        project.edit.write_text("{}", encoding="utf-8")
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def timed(project):
    """The last training of `main` took 2 h 40 min."""
    path = project.work / "benchmarks/runs/main/train_lora.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(BENCHMARK)
    yield
    path.unlink()


def test_nothing_to_do_is_said(project):
    status, said = tool(project, "plan")
    assert status == 0 and said.startswith("Nothing would run: all "), said


def test_an_edited_key_is_named_with_both_values_and_what_follows(project, timed):
    edit = '{"train": {"learning_rate": 1.0e-4}, "evaluate": {"score": {"seed": 999}}}'
    status, said = tool(project, "plan", edit=edit)
    assert status == 0, said
    lines = said.splitlines()
    assert "train_lora (main and seed43) would run because train.learning_rate was 0.001" in said
    # seed43 never ran: it counts as the longest of its rule
    assert "and is 1.0e-4; about 5 h 20 min by the last run." in lines[0]
    scored = "score_dialogue (main/dialogue and seed43/dialogue) would run because"
    assert f"{scored} evaluate.score.seed was 42 and is 999" in said
    assert lines[-2].endswith("follow.") and "export_model (main and seed43)" in lines[-2]
    assert "no time is known of" in lines[-1]
    status, said = tool(project, "why", "--file", "results/base/model", edit=edit)
    assert said.startswith("results/base/model would not be made again: build_demo_model"), said


def test_code_files_and_runs_are_told_apart(project):
    status, said = tool(project, "plan", edit='{"runs": {"rank16": {"dataset": "demo"}}}')
    assert status == 0 and "order_dialogues (rank16) would run because it never ran here" in said
    assert "train_lora (rank16) would" not in said  # it follows
    path = project.root / "scripts/score_dialogue.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\nEDITED = 1\n", encoding="utf-8")
    try:
        status, said = tool(project, "why", "--file", "results/tables/evaluation.csv")
    finally:
        path.write_text(text, encoding="utf-8")
    assert status == 0, said
    assert said.startswith("results/tables/evaluation.csv would be made again, by evaluation_table")
    assert "because scripts/score_dialogue.py" in said and "train_lora" not in said


def test_what_no_rule_makes_is_one_sentence(project):
    status, said = tool(project, "why", "--file", "results/无.txt")
    assert status == 2 and said.startswith("error: results/无.txt is made by no rule"), said
    status, said = tool(project, "plan", edit='{"train": {"learning_rte": 1}}')
    assert status == 2 and "learning_rate" in said and "Traceback" not in said, said
