"""What a start writes down for its jobs: an edit of the configuration, of a program or of the
rules cannot reach them unseen.
"""

import json
import os
import subprocess
import sys

import pytest
from planning import snakemake

# As the executor of a cluster types it for one job
JOB = ["--cores", "1", "--force", "--nolock", "--mode", "remote", "--allowed-rules", "train_lora"]


@pytest.fixture
def start(project):
    """The file that the last start of the finished project wrote."""
    return max(
        (project.work / ".snakemake/mindtune").glob("*.json"), key=lambda path: path.stat().st_mtime
    )


@pytest.fixture
def edited(project):
    """Put text at the end of a file of the project; taken back afterwards."""
    saved = {}

    def edit(name, text=None):
        path = project.root / name
        text = text or ("\nEDITED = '改了一行'\n" if path.suffix == ".py" else "\n# 改了一行\n")
        saved.setdefault(path, (path.read_bytes(), path.stat()))
        path.write_bytes(path.read_bytes() + text.encode())

    yield edit
    for path, (content, stat) in saved.items():
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def job(project, start, *more):
    """Plan one training as its job does, hours later."""
    place = ["--snakefile", str(project.root / "Snakefile"), "--directory", str(project.work)]
    name = os.path.relpath(start, project.work)
    return snakemake(
        *place,
        *JOB,
        "--config",
        f"start={name}",
        *more,
        "-n",
        "-p",
        "--",
        "results/runs/main/adapter",
    )


def program(project, start, name="pack_stats.py", **extra):
    """Start a program as a job's shell does."""
    command = [sys.executable, str(project.root / "scripts" / name), "--help"]
    return subprocess.run(
        command, cwd=project.work, env={**os.environ, "MINDTUNE_START": str(start), **extra},
        capture_output=True, text=True
    )  # fmt: skip


def test_a_job_takes_the_configuration_of_its_start(project, start, edited):
    rate = json.loads(start.read_text())["config"]["train"]["learning_rate"]
    edited("config/config.yaml", "\ntrain: {{{ half an edit 改到一半\n")
    edited("config/demo.yaml", "\nruns: {后来: {dataset: demo}}\n")
    status, output = job(project, start)
    assert status == 0, output
    assert f'"learning_rate": {rate}' in output, output


def test_a_job_takes_the_environment_of_its_start(project, start, edited):
    edited("envs/train.lock")
    status, output = job(project, start)
    assert status == 0, output
    assert f"{json.loads(start.read_text())['environments']['train']}/bin/python" in output, output


def test_a_value_of_the_shell_is_no_start(project, monkeypatch):
    monkeypatch.setenv("MINDTUNE_START", "/nowhere/elsewhere.json")
    assert project.planned() == set()


def test_a_dry_run_writes_nothing_down(project):
    before = list((project.work / ".snakemake/mindtune").iterdir())
    project.planned({"train": {"learning_rate": 3.0e-4}})
    assert list((project.work / ".snakemake/mindtune").iterdir()) == before


def test_starts_are_named_by_what_they_hold(project, start):
    """Two starts share a file only if they are the same; one that nobody took for a long time
    goes.
    """
    old = start.with_name("0123456789abcdef.json")
    old.write_text("{}")
    os.utime(old, (0, 0))
    before = start.read_bytes()
    project.edit.write_text(json.dumps({"train": {"learning_rate": 7.0e-4}}))
    try:
        status, output = snakemake(*project.command("--touch", "--forceall"))
        assert status == 0, output
        new = max(start.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
        assert new != start and start.read_bytes() == before and not old.exists()
        assert json.loads(new.read_text())["config"]["train"]["learning_rate"] == 7.0e-4
        new.unlink()
    finally:
        project.edit.write_text("{}")
        assert snakemake(*project.command("--touch", "--forceall"))[0] == 0


def test_edited_rules_stop_a_job_that_reads_them_again(project, start, edited):
    edited("resources/README.md")
    assert job(project, start)[0] == 0
    edited("rules/train.smk", "\n\nrule train_lora: 语法错误 (\n")
    status, output = job(project, start)
    assert status == 1 and "Traceback" not in output
    assert (
        "rules/train.smk changed since the start of this job" in output and "start again" in output
    )


def test_a_start_that_is_gone_is_said(project, start):
    status, output = job(project, start.with_name("没有.json"))
    assert status == 1 and "Traceback" not in output
    assert "没有.json is gone" in output and "start again" in output


def test_a_start_is_a_whole_configuration(project, start):
    status, output = job(project, start, "train=x")
    assert status == 1 and "train is given too" in output and "Traceback" not in output
    status, output = job(project, project.edit)
    assert status == 1 and "was not written by a start" in output and "Traceback" not in output


@pytest.mark.parametrize(
    ("name", "stopped"),
    [
        ("scripts/pack_stats.py", True),
        ("scripts/mindtune/train/packing.py", True),
        ("scripts/mindtune/records.py", True),
        ("scripts/mindtune/cli.py", False),
        ("scripts/score_dialogue.py", False),
        ("scripts/mindtune/evaluate/metrics.py", False),
        ("rules/data.smk", False),
        ("config/config.yaml", False),
    ],
)
def test_a_program_stops_if_it_is_no_longer_what_its_start_knew(
    project, start, edited, name, stopped
):
    assert program(project, start).returncode == 0
    edited(name)
    done = program(project, start)
    assert done.returncode == (2 if stopped else 0), done.stderr
    assert not stopped or f"error: {name} changed since the start of this job" in done.stderr
    assert done.stderr.count("\n") == int(stopped), done.stderr


def test_what_a_program_loads_by_name_counts(project, start, edited):
    """The trainer's plugin is imported by ms-swift, not by the program."""
    assert program(project, start, "train_lora.py").returncode == 0
    edited("scripts/mindtune/train/lora.py")
    done = program(project, start, "train_lora.py")
    assert done.returncode == 2 and "scripts/mindtune/train/lora.py changed" in done.stderr, (
        done.stderr
    )


def test_a_program_says_that_its_start_is_gone(project, start):
    done = program(project, start.with_name("x.json"))
    assert done.returncode == 2 and "x.json is gone" in done.stderr and done.stderr.count("\n") == 1


def test_a_lock_that_is_edited_before_it_is_built_is_not_built_under_the_old_name(
    project, start, edited
):
    """The environment that serves is not there, so its rule stands in the plan of the start."""
    assert program(project, start, "build_env.py").returncode == 0
    edited("envs/serve.lock")
    done = program(project, start, "build_env.py")
    assert (
        done.returncode == 2 and "error: envs/serve.lock changed since the start" in done.stderr
    ), done.stderr
