"""Further runs cost their own chain and nothing that is shared; the export may be chosen by a
figure.
"""

import json
import re

from planning import ROOT, snakemake

MATRIX = {"dataset": ["demo"], "seed": [1, 2, 3], "lora": {"rank": [4, 8]}}
# What is made once, whatever the number of runs
SHARED = {
    "fetch_dataset", "clean_dialogues", "split_dialogues", "write_datasheet", "cache_dataset",
    "build_demo_model", "build_demo_tokenizer", "prepare_suite", "generate_base_replies",
    "generate_baseline_replies", "measure_base_letters",
}  # fmt: skip


def counts(project, edit):
    """{rule: jobs} of a plan after an edit."""
    project.edit.write_text(json.dumps(edit), encoding="utf-8")
    try:
        status, output = snakemake(*project.command("--dry-run"))
    finally:
        project.edit.write_text("{}", encoding="utf-8")
    assert status == 0, output
    table = output.rpartition("Job stats:")[2]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


def test_a_matrix_adds_the_chains_of_its_runs_and_remakes_nothing_shared(project):
    planned = counts(project, {"matrix": MATRIX})
    assert planned["train_lora"] == planned["merge_adapter"] == planned["export_model"] == 6
    assert not SHARED & planned.keys()
    assert planned["evaluation_table"] == 1


def test_a_combination_that_is_taken_out_is_not_trained(project):
    out = {"demo-rank4-seed1": None, "demo-rank8-seed3": None}
    assert counts(project, {"matrix": MATRIX, "runs": out})["train_lora"] == 4
    assert project.planned({"matrix": None}) == set()


def test_runs_that_are_there_stay_as_they_are_when_the_export_is_chosen(project):
    """Only the choice, what is published, its smoke test and the report are new."""
    planned = counts(project, {"export": {"run": {"lowest": "dev_loss"}}})
    assert planned.keys() - {"total", "all", "draw_rulegraph"} == {
        "choose_run", "draw_lineage", "publish_export", "verify_chosen_serving", "write_report",
        "write_chart",
    }  # fmt: skip


def test_an_export_is_chosen_after_all_runs_are_trained(project):
    edit = {"matrix": MATRIX, "export": {"run": {"lowest": "dev_loss"}}}
    project.edit.write_text(json.dumps(edit), encoding="utf-8")
    try:
        status, output = snakemake(*project.command("--dry-run", "--printshellcmds"))
    finally:
        project.edit.write_text("{}", encoding="utf-8")
    assert status == 0, output
    rule = output.partition("rule choose_run:")[2].partition("output:")[0]
    for run in ("main", "seed43", "demo-rank4-seed1", "demo-rank8-seed3"):
        assert f"results/runs/{run}/train_lora.json" in rule
    assert "--choice results/choose_run.json" in output
    report = output.partition("rule write_report:")[2].partition("output:")[0]
    for run in ("main", "seed43", "demo-rank4-seed1", "demo-rank8-seed3"):
        assert f"results/runs/{run}/replies/dialogue.jsonl" in report


def test_a_gate_of_a_chosen_export_asks_for_the_choice(project):
    edit = {"export": {"run": {"lowest": "dev_loss"}}}
    gates = ROOT / "config/gates.yaml"
    project.edit.write_text(json.dumps(edit), encoding="utf-8")
    try:
        status, output = snakemake(
            "--snakefile", str(project.root / "Snakefile"), "--directory", str(project.work),
            "--configfile", str(project.root / "config/demo.yaml"), str(gates), str(project.edit),
            "--cores", "2", "--dry-run", "--printshellcmds", "--", "gate",
        )  # fmt: skip
    finally:
        project.edit.write_text("{}", encoding="utf-8")
    assert status == 0, output
    assert "choose_run" in output and "--choice results/choose_run.json" in output
