"""The environments of make targets: named if they are there, built if not, and no path of one that
cannot be built.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from build_env import build
from mindtune.cli import UserError
from mindtune.code import seen
from mindtune.environments import ROOT, built_from, torch_pins, venv_name

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def interpreter(env, **environment):
    """Ask for an environment's interpreter, as the make targets do."""
    words = [sys.executable, SCRIPTS / "mindtune/environments.py", env]
    return subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True)


def test_an_environment_that_is_there_is_named_and_not_built(tmp_path):
    folder = tmp_path / venv_name("core", False)
    folder.mkdir()
    (folder / "READY").touch()
    done = interpreter("core", MINDTUNE_VENVS=str(tmp_path))
    assert (done.stdout, done.stderr) == (f"{folder}/bin/python\n", "")


def test_a_name_follows_locks_and_what_builds_but_no_comment(tmp_path, monkeypatch):
    for name in built_from("train", False):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr("mindtune.environments.ROOT", tmp_path)
    program, lock = tmp_path / "scripts/build_env.py", tmp_path / "envs/train.lock"
    names = [venv_name("train", False)]
    for path, text in ((program, "\n# 注释\n"), (program, "\nMORE = 1\n"), (lock, "# pin\n")):
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
        seen.cache_clear()
        names.append(venv_name("train", False))
    assert names[0] == names[1] and len(set(names)) == 3


def test_an_environment_that_cannot_be_built_is_an_error_and_no_path(tmp_path):
    done = interpreter(
        "core", MINDTUNE_VENVS=str(tmp_path), UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path / "cache")
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "check the connection to the package registry" in done.stderr.splitlines()[-1]


def pins(name):
    """{package: version} of a lock."""
    return dict(
        re.findall(
            r"^([\w.-]+)(?:\[.*?\])?==([^ \\\n]+)",
            (ROOT / "envs" / name).read_text(encoding="utf-8"),
            re.M,
        )
    )


@pytest.mark.parametrize(
    ("env", "on_gpu"), [("train", True), ("serve", True), ("serve", False), ("core", True)]
)
def test_what_runs_on_a_gpu_is_installed_by_hash_alone(env, on_gpu):
    assert torch_pins(env, on_gpu) == []


def test_torch_for_cuda_is_locked_with_all_it_loads_for_one_version_of_cuda():
    cuda, train = pins("train-cuda.lock"), pins("train.lock")
    assert {
        "torch",
        "triton",
        "nvidia-cublas",
        "nvidia-cudnn-cu13",
        "nvidia-nccl-cu13",
        "flash-attn-4",
    } <= cuda.keys()
    assert not [name for name in cuda if re.search(r"cu(da)?-?12", name)], (
        "two versions of CUDA beside each other"
    )
    assert {
        name: version for name, version in cuda.items() if train.get(name, version) != version
    } == {}
    assert (
        f"torch=={cuda['torch']}" == (ROOT / "envs/train.torch").read_text(encoding="utf-8").strip()
    )


def test_what_builds_packages_from_sources_is_part_of_an_environments_name():
    assert "envs/build.txt" in built_from("core", False)
    assert "setuptools" in pins("build.txt")


def test_a_wheel_with_another_hash_is_refused(tmp_path):
    """A package of the lock's name and version, but with other bytes, as a registry that was
    broken into would serve it.
    """
    wheel = make_wheel(tmp_path / "wheels", "mindtune-probe", "1.0")
    lock = tmp_path / "probe.lock"
    lock.write_text(f"mindtune-probe==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(UserError, match="uv pip install ended with status"):
        build_one(tmp_path, lock)
    lock.write_text(
        f"mindtune-probe==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )
    assert "mindtune-probe==1.0" in build_one(tmp_path, lock)
    assert "never-heard-of" not in build_one(tmp_path, lock), "something came in that is in no lock"


def build_one(folder, lock):
    """Build an environment of one lock, from a folder of wheels and nothing else."""
    words = argparse.Namespace(
        locks=[lock], torch_pin=[], torch="", build_constraints=ROOT / "envs/build.txt"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("UV_FIND_LINKS", folder / "wheels"),
            ("UV_NO_INDEX", 1),
            ("UV_CACHE_DIR", folder / "cache"),
        ):
            patch.setenv(name, str(value))
        return build(words, folder / "environment")


def make_wheel(folder, name, version):
    """A wheel without content that wants a package which does not exist."""
    folder.mkdir()
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    about = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: "
        f"never-heard-of==9\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{stem}.dist-info/METADATA", about)
        archive.writestr(
            f"{stem}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path
