"""Files that no rule makes: without one of them nothing is planned, and so no earlier result
passes for a new one.
"""

import json
import re
import subprocess
import sys

import pytest
from planning import ROOT, snakemake

KEY = {"export": {"signing_key": "钥匙 1.pem", "signing_passphrase": "passphrase 1.txt"}}


@pytest.fixture
def signed(project):
    """The finished project with a signing key in its configuration."""
    key = project.root / "钥匙 1.pem"
    key.write_text("key")
    passphrase = project.root / "passphrase 1.txt"
    passphrase.write_text("sesame")
    project.edit.write_text(json.dumps(KEY), encoding="utf-8")
    yield project
    project.edit.write_text("{}", encoding="utf-8")
    key.unlink(missing_ok=True)
    passphrase.unlink()


def sources(project):
    """Inputs of all jobs that are no job's output, by the names that Snakemake knows them by; none
    is known by its place.
    """
    status, output = snakemake(*project.command("--dry-run", "--forceall"))
    assert status == 0, output
    found = {
        word: {
            name
            for line in re.findall(rf"^    {word}: (.*)$", output, re.M)
            for name in line.split(", ")
        }
        for word in ("input", "output")
    }
    named = {name for name in found["input"] - found["output"] if name}
    assert all(name.endswith(" (cached)") for name in named), named
    names = {name.removesuffix(" (cached)") for name in named}
    return {name for name in names if not name.startswith("environment ")}


def test_without_any_file_that_no_rule_makes_nothing_is_planned(signed):
    names = sources(signed)
    assert {
        "钥匙 1.pem",
        "config/hotlines.yaml",
        "envs/train.lock",
        "resources/knowledge/questions.jsonl",
    } <= names
    assert not {name for name in names if name.startswith("demo/")}, (
        "a source lies among the results"
    )
    assert not any("passphrase" in name for name in names), "Snakemake would keep its hash"
    for name in sorted(names):
        path = signed.root / name
        # a folder of dialogues may lose a file, which is an edit, but not itself
        path = path.parent if path.parent == signed.root / "resources/dialogues" else path
        path.rename(path.with_name("away"))
        try:
            status, output = snakemake(*signed.command("--dry-run"))
        finally:
            path.with_name("away").rename(path)
        assert status == 1 and f"{path} is not there" in output, f"{name}\n{output}"
        assert "Traceback" not in output and len(output.splitlines()) < 12, output


def test_a_typo_beside_another_edit_is_named_with_its_key(project):
    """Without the check, all but the export was made anew, and the old export passed for it."""
    project.edit.write_text(
        json.dumps({"export": {"signing_key": "no.pem"}, "train": {"lora": {"rank": 4}}}),
        encoding="utf-8",
    )
    try:
        status, output = snakemake(*project.command("--dry-run"))
    finally:
        project.edit.write_text("{}", encoding="utf-8")
    assert (
        status == 1
        and f"config key export.signing_key is 'no.pem': {project.root / 'no.pem'} is not there"
        in output
    )


@pytest.mark.parametrize(
    "name",
    ["a b.jsonl", "o'brien.jsonl", "$(touch x).jsonl", "<X>.jsonl", "-h.jsonl", "对话*.jsonl"],
)
def test_odd_names_of_data_are_planned(project, tmp_path, name):
    (tmp_path / name).write_text("{}")
    dataset = {"source": "local", "path": str(tmp_path / name), "licence": "CC0-1.0"}
    assert "fetch_dataset" in project.planned({"datasets": {"demo": dataset}})


def test_duplicate_keys_and_numbers_on_the_command_line(project, tmp_path):
    (tmp_path / "twice.yaml").write_text(
        "train: {seed: 1}\nexport: {}\ntrain: {epochs: 2}\n", encoding="utf-8"
    )
    command = project.command("--dry-run")
    command[command.index(str(project.edit))] = str(tmp_path / "twice.yaml")
    status, output = snakemake(*command)
    assert status == 1 and "twice.yaml line 3 has the key 'train' again" in output
    status, output = snakemake(
        *project.command("--dry-run", "--config", "train={lora: {rank: 4}}", "--")
    )
    assert status == 0 and "rule train_lora:" in output and "rule clean_dialogues:" not in output, (
        output
    )
    status, output = snakemake(
        *project.command("--dry-run", "--config", "train={lora: {rank: 8}}", "--")
    )
    assert status == 0 and "rule train_lora:" not in output, output


@pytest.mark.parametrize(("turns", "status"), [("4", 0), ("four", 1)])
def test_a_job_of_its_own_process_reads_the_same_configuration(tmp_path, turns, status):
    """Overlays that remove a run, and numbers in --config, reach a job that parses the workflow
    again; it prints nothing.
    """
    (tmp_path / "edit.yaml").write_text(
        "runs: {main: null}\nexport: {run: seed43}\n", encoding="utf-8"
    )
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory",
        tmp_path / "work",
        "--configfile", ROOT / "config/demo.yaml", tmp_path / "edit.yaml",
        "--config", f"data={{clean: {{min_turns: {turns}}}}}",
        "--mode", "subprocess", "--dry-run", "--", "results/data/demo/clean.jsonl",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
