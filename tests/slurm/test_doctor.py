"""make slurm-doctor on the real test cluster, with a profile that fits and with profiles that do
not.
"""

import shutil
import subprocess
import sys

import pytest
import yaml
from chain import ROOT


@pytest.fixture
def profile(tmp_path):
    """A copy of the profile and a way to lay other values over its files."""
    folder = tmp_path / "profile"
    shutil.copytree(ROOT / "slurm-h100", folder)

    def edit(partitions=None, **config):
        if partitions:
            (folder / "partitions.yaml").write_text(yaml.safe_dump({"partitions": partitions}))
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | config))
        return folder

    return edit


def doctor(folder):
    """(exit status, what the doctor says)."""
    command = [
        sys.executable,
        str(ROOT / "scripts/tools/slurm_doctor.py"),
        "--profile",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_shipped_profile_fits(cluster, profile):
    status, said = doctor(profile())
    assert status == 0, said
    assert "GPUs a node: 8 x h100" in said and "fits this cluster" in said


def test_other_names_models_and_counts(cluster, profile):
    folder = profile(
        {
            "compute": {"max_runtime": 600, "max_gpu": 0},
            "gpu": {"max_runtime": 60, "max_gpu": 16, "available_gpu_models": ["a100"]},
        }
    )
    status, said = doctor(folder)
    assert status == 1
    assert (
        "partition compute does not exist here; there are cpu, gpu, scavenge" in said
        and "cpu:   # was compute:" in said
    )
    assert (
        "the GPUs of gpu are called h100, not a100" in said
        and "available_gpu_models: [h100]" in said
    )
    assert "gpu: max_gpu: 8" in said
    assert "train_lora asks for a h100, and partitions.yaml offers a100" in said


def test_sacct_is_advised_against(cluster, profile):
    status, said = doctor(profile(**{"slurm-status-command": "sacct"}))
    assert status == 1 and "slurm-status-command: squeue" in said


def test_a_shorter_limit_is_seen(cluster, profile):
    from jobs import slurm

    slurm("scontrol", "update", "partitionname=gpu", "MaxTime=12:00:00")
    try:
        status, said = doctor(profile())
    finally:
        slurm("scontrol", "update", "partitionname=gpu", "MaxTime=UNLIMITED")
    assert status == 1 and "gpu: max_runtime: 720" in said


def test_preempt_mode_cancel_is_seen(cluster, profile):
    from jobs import slurm

    slurm("scontrol", "update", "partitionname=gpu", "PreemptMode=CANCEL")
    try:
        status, said = doctor(profile())
    finally:
        slurm("scontrol", "update", "partitionname=gpu", "PreemptMode=REQUEUE")
    assert status == 1 and "PreemptMode=CANCEL" in said


def test_without_slurm_it_says_where_to_run(profile, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert doctor(profile()) == (
        2,
        "error: sinfo is not on the PATH; run this on a login node of the cluster\n",
    )
