"""The same bytes in another place, or the same settings in other words, rerun nothing; and results
that come without Snakemake's own folder are taken up only if every one is as it was made.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from mindtune.made import COMPARED, KEPT, METADATA, metadata_path, output_of
from mindtune.records import list_files, read_json, seal, sha256_file, write_json
from planning import FETCHED, ROOT, snakemake
from test_reruns import SERVED, followers  # noqa: F401

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def moved():
    """Move a folder; it is back afterwards."""
    done = []

    def move(source, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        done.append((source, target))
        return target

    yield move
    for source, target in reversed(done):
        target.rename(source)


def test_a_working_directory_that_moved_reruns_nothing(project, moved):
    work = moved(project.work, project.root.parent / "其他/deeper/demo")
    assert project.at(work=work).planned() == set()


def test_a_colleagues_clone_on_the_same_results_reruns_nothing(project, tmp_path):
    clone = tmp_path / "colleague/mindtune"
    ignored = shutil.ignore_patterns("demo", ".snakemake")
    shutil.copytree(project.root, clone, ignore=ignored, copy_function=shutil.copyfile)
    assert project.at(root=clone).planned() == set()


def test_environments_in_another_place_rerun_nothing(project, moved, monkeypatch):
    venvs = project.root.parent / "venvs"
    monkeypatch.setenv("MINDTUNE_VENVS", str(moved(venvs, project.root.parent / "disk/venvs")))
    assert project.planned() == set()


def test_environments_beside_the_workflow_rerun_nothing(project, moved, monkeypatch):
    moved(project.root.parent / "venvs", project.root / ".snakemake/venvs")
    monkeypatch.delenv("MINDTUNE_VENVS")
    assert project.planned() == set()


@pytest.mark.parametrize(
    "edit",
    [
        {"datasets": {"demo": {"path": "./resources/dialogues"}}},
        {"datasets": {"demo": {"path": "resources//dialogues/"}}},
        {"datasets": {"demo": {"sha256": FETCHED}}},
        {"data": {"contamination": {"files": ["./resources/knowledge/questions.jsonl",
                                              "resources/crisis/prompts.jsonl"]}}},
        {"data": {"clean": {"languages": ["en", "zh"]}}},
        {"export": {"max_shard_size": "0.05GB"}},
        {"export": {"max_shard_size": "50 mb"}},
        {"verify": {"max_logit_difference": 1}},
        {"train": {"lora": {"target_modules": MODULES[::-1]}}},
        {"runs": {"seed43": {"seed": 43, "lora": {"rank": 8}}}},
        {"train": {"lora": {"dropout": 0.1, "alpha": 32, "rank": 8}}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_the_same_settings_in_other_words_rerun_nothing(project, edit):
    assert project.planned(edit) == set()


def test_two_edits_at_once_rerun_what_each_of_them_does(project, followers):  # noqa: F811
    """One of them may not hide the other (see rules/env.smk)."""
    edit = {
        "verify": {"n_prompts": 5},
        "smoke": {"max_new_tokens": 47},
        "evaluate": {"suites": {"dialogue": {"max_new_tokens": 47}}},
        "datasets": {"demo": {"licence": "CC-BY-4.0"}},
    }
    wanted = followers({"verify_merge", "export_model", "write_datasheet", *SERVED})
    assert project.planned(edit) == wanted


def test_a_checksum_that_was_not_met_is_refused_or_fetched_by_name(project):
    project.edit.write_text(json.dumps({"datasets": {"demo": {"sha256": "0" * 64}}}))
    try:
        status, output = snakemake(*project.command("--dry-run"))
        assert status == 1 and f"datasets.demo sha256={FETCHED}" in output, output
        assert "--config replace=data" in output
        words = project.command("--dry-run")
        words[words.index("--cores") : 0] = ["--config", "replace=data"]
        status, output = snakemake(*words)
        assert status == 0 and "fetch_dataset" in output, output
    finally:
        project.edit.write_text("{}")


def adopt(work):
    """Run the program on a folder; return its outcome."""
    words = [sys.executable, str(ROOT / "scripts/tools/adopt.py"), "--workdir", str(work)]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.fixture
def copied(project, tmp_path):
    """The results in a folder of their own, without Snakemake's, the first made copied last; one
    record more says of all of them what they are.
    """
    results = tmp_path / "copy/results"
    for path in sorted((project.work / "results").rglob("*"), reverse=True):
        target = results / path.relative_to(project.work / "results")
        (target if path.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copyfile(path, target)
    later = time.time() + 60
    os.utime(results / "data/demo/clean.jsonl", (later, later))
    names = [name for name in list_files(results) if not name.startswith("starts/")]
    outputs = {f"results/{name}": sha256_file(results / name) for name in names}
    record = {
        "stage": "all",
        "inputs": {},
        "outputs": outputs,
        "params": {},
        "facts": {},
        "env": {},
    }
    write_json(results / "all.json", record | {"seal": seal(record)})
    made = read_json(results.parent / KEPT)
    digest = sha256_file(results / "all.json")
    made["results/all.json"] = dict.fromkeys(COMPARED) | {"sha256": digest}
    write_json(results.parent / KEPT, made)
    return project.at(work=tmp_path / "copy")


def test_results_that_were_copied_alone_are_taken_up(copied):
    assert copied.planned(), "without Snakemake's folder and with turned times much is made anew"
    made = read_json(copied.work / KEPT)
    gone = "results/runs/old/train_lora.json"  # deleted, by hand or by make erase, since the start
    write_json(copied.work / KEPT, made | {gone: dict.fromkeys(COMPARED) | {"sha256": "0" * 64}})
    done = adopt(copied.work)
    assert done.returncode == 0, done.stderr
    assert not metadata_path(gone).exists() and copied.planned() == set()
    assert copied.planned({"train": {"learning_rate": 5.0e-3}}) >= {"train_lora", "merge_adapter"}
    assert "fetch_dataset" not in copied.planned({"train": {"learning_rate": 5.0e-3}})


def test_results_with_an_altered_file_are_not_taken_up(copied):
    clean = copied.work / "results/data/demo/clean.jsonl"
    clean.write_text("改", encoding="utf-8")
    done = adopt(copied.work)
    assert done.returncode == 2 and "results/data/demo/clean.jsonl is changed" in done.stderr
    assert not (copied.work / METADATA).exists()


def test_results_of_which_nobody_knows_how_they_were_made_are_not_taken_up(copied):
    kept = copied.work / KEPT
    made = read_json(kept)
    del made["results/data/demo/clean.jsonl"]
    write_json(kept, made)
    done = adopt(copied.work)
    assert done.returncode == 2 and "how results/data/demo/clean.jsonl was made" in done.stderr
    kept.unlink()
    assert adopt(copied.work).returncode == 2 and not (copied.work / METADATA).exists()


def test_metadata_lies_where_snakemake_looks_for_it(project):
    found = {output_of(path) for path in metadata_files(project.work)}
    assert "results/runs/seed43/replies/dialogue.jsonl" in found
    for path in metadata_files(project.work):
        assert metadata_path(output_of(path)) == path
    long = "results/" + "很长" * 100 + ".json"
    assert output_of(metadata_path(long)) == long and len(metadata_path(long).parts) > 3


def metadata_files(work):
    """Snakemake's files about outputs, as seen from a working directory."""
    return [path.relative_to(work) for path in (work / METADATA).rglob("*") if path.is_file()]
