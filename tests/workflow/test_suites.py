"""A suite is one file: without any other edit it is planned, and no other suite is asked again."""

import json
import re

import pytest
import yaml
from planning import ROOT, snakemake

NEW = {
    "about": "陪伴的问题",
    "source": "repository",
    "path": "resources/safety/questions.jsonl",
    "licence": "CC0-1.0",
    "form": "questions",
    "languages": ["zh", "en"],
    "instruction": {"zh": "请选一项。", "en": "Choose one."},
    "max_new_tokens": 8,
    "scorer": "choice",
    "metric": "accuracy",
    "note": "新的一套题。",
}


@pytest.fixture
def suite(project):
    """Write a suite's file, and take it away again."""
    written = []

    def write(name="support", **changes):
        path = project.root / f"config/suites/{name}.yaml"
        text = yaml.safe_dump(NEW | changes, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)

    yield write
    for path in written:
        path.unlink()


def plan(project, edit=None, *arguments):
    """(status, output) of a dry run with an edit of the configuration."""
    project.edit.write_text(json.dumps(edit or {}), encoding="utf-8")
    try:
        return snakemake(*project.command("--dry-run", *arguments))
    finally:
        project.edit.write_text("{}", encoding="utf-8")


def made(output, rule):
    """The outputs of a rule's planned jobs."""
    found, name = [], ""
    for line in output.splitlines():
        if job := re.match(r"(?:local)?rule (\w+):$", line):
            name = job[1]
        elif name == rule and line.startswith("    output: "):
            found.append(line.removeprefix("    output: "))
    return sorted(found)


def test_a_suite_is_planned_from_its_file_alone(project, suite):
    assert project.planned() == set()
    suite()
    status, output = plan(project)
    assert status == 0, output
    assert made(output, "prepare_suite") == [
        "results/prompts/demo/support.jsonl, results/prompts/demo/support.json"
    ]
    scored = " ".join(made(output, "score_suite"))
    for run in ("main", "seed43"):
        assert f"results/runs/{run}/items/support.parquet" in scored
        assert f"results/runs/{run}/replies/support.jsonl" in " ".join(
            made(output, "generate_tuned_replies")
        )
    assert not made(output, "train_lora") and not made(output, "measure_base_letters")


def test_a_suite_that_measures_letters_asks_the_model_itself(project, suite):
    suite(likelihood=True)
    _, output = plan(project)
    (outputs,) = made(output, "measure_base_letters")  # one start of the model for all suites
    for suite in ("support", "knowledge"):
        for kind in ("jsonl", "json"):
            assert f"results/base/letters/demo/{suite}.{kind}" in outputs.split(", ")


def test_a_suite_of_a_hub_is_fetched(project, suite):
    suite(source="modelscope", path=None, id="someone/questions", revision="0" * 40)
    _, output = plan(project)
    assert made(output, "fetch_suite") == [
        "results/suites/support/raw, results/suites/support/fetch_suite.json"
    ]


def test_only_the_suites_that_are_named_run(project):
    status, output = plan(project, {"evaluate": {"only": ["dialogue"]}}, "--forceall")
    assert status == 0 and not made(output, "score_suite")
    assert made(output, "prepare_suite") == [
        "results/prompts/demo/dialogue.jsonl, results/prompts/demo/dialogue.json"
    ]


def test_data_of_the_user_make_their_suite_run(project):
    (project.root / "psych").mkdir()
    (project.root / "psych/x_test.csv").write_text("q,a,b,c,d,A\n", encoding="utf-8")
    edit = {"evaluate": {"suites": {"mmlu_psychology": {"path": "psych"}}}}
    _, output = plan(project, edit)
    assert made(output, "prepare_suite") == [
        "results/prompts/demo/mmlu_psychology.jsonl, results/prompts/demo/mmlu_psychology.json"
    ]


@pytest.mark.parametrize(
    ("changes", "edit", "words"),
    [
        ({"metrik": "x"}, {}, ["support.yaml", "'metrik' is unknown", "nearest is metric"]),
        ({"scorer": "choise"}, {}, ["support.yaml: scorer is 'choise'", "choice"]),
        ({"shuffles": True}, {}, ["support.yaml: shuffles is True; expected int"]),
        ({"sha256": "abc"}, {}, ["sha256 is 'abc'", "64 hexadecimal digits"]),
        ({"source": "modelscope"}, {}, ["source modelscope needs id"]),
        ({"path": "resources/nothing.jsonl"}, {}, ["resources/nothing.jsonl is not there"]),
        ({"max_new_tokens": 4096}, {}, ["suite support: max_new_tokens is 4096", "session_len"]),
        ({}, {"only": ["suport"]}, ["'suport'", "the nearest is support"]),
        ({}, {"only": ["cpsyexam"]}, ["cpsyexam needs its data", "evaluate.suites.cpsyexam.path"]),
        ({}, {"suites": {"dialog": {"max_items": 2}}}, ["'dialog'", "nearest is dialogue"]),
    ],
)
def test_what_a_suite_cannot_say_is_one_sentence(project, suite, changes, edit, words):
    suite(**changes)
    status, output = plan(project, {"evaluate": edit})
    assert status == 1 and all(word in output for word in words), output
    assert "Traceback" not in output and len(output.splitlines()) < 12, output


def test_the_project_knows_its_suites_only_from_their_files():
    names = {path.stem for path in (ROOT / "config/suites").glob("*.yaml")} - {"dialogue"}
    programs = set((ROOT / "scripts").glob("*.py"))
    programs.remove(ROOT / "scripts/clean_dialogues.py")  # whose setting "crisis" is no suite
    for path in [*(ROOT / "rules").glob("*.smk"), *programs]:
        text = path.read_text(encoding="utf-8")
        text = text.replace('["data"]["canaries"]', "")  # what is planted is no suite
        for name in names:
            assert f'"{name}"' not in text, f"{path} knows the suite {name}"
    assert '"dialogue"' not in (ROOT / "rules/common.smk").read_text(encoding="utf-8")


@pytest.mark.parametrize("edit, left", [
    ({"again": False}, ["prompted"]),
    ({"prompted": None}, ["again"]),
    ({"again": False, "prompted": None}, []),
])  # fmt: skip
def test_a_baseline_that_is_taken_away_leaves_no_row(project, edit, left):
    status, output = plan(project, {"evaluate": {"baselines": edit}}, "--forceall")
    assert status == 0, output
    asked = " ".join(made(output, "generate_baseline_replies"))
    assert [name for name in ("again", "prompted") if f"demo/{name}/crisis.jsonl" in asked] == left
    assert made(output, "score_suite") and made(output, "generate_base_replies")
