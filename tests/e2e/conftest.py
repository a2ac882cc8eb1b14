"""The demo, run once for all tests, and its deterministic part once more in folders with names that a shell would read."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from mindtune.environments import venvs_folder  # noqa: E402

# What a clone needs; a user's other files stay where they are
CLONED = ("Snakefile", "config", "envs", "profiles", "resources", "rules", "scripts", "pyproject.toml")
ODD = '我的 project\'s $(touch P) "`touch P`" dir'


@dataclass
class Demo:
    """A finished demo: its working directory, what it printed, and the seconds it took."""

    work: Path
    output: str
    seconds: float

    @property
    def results(self) -> Path:
        return self.work / "results"


def run_demo(work: Path, *arguments: str, root: Path = ROOT, **environment: str) -> Demo:
    """Run scripts/demo.py as `make demo` does; its output is shown if it fails."""
    command = [sys.executable, str(root / "scripts/demo.py"), "--model", "tiny", "--workdir", str(work), "--cores", "2"]
    start = time.monotonic()
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-20000:]
    return Demo(work, done.stdout, time.monotonic() - start)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("first") / "demo")


@pytest.fixture(scope="session")
def again(demo):
    """A second call in the same folder."""
    return run_demo(demo.work)


@pytest.fixture(scope="session")
def elsewhere(demo, tmp_path_factory):
    """The part up to the export of run `main`, made anew by a clone: it, its environments, TMPDIR and the results lie in odd folders."""
    odd = tmp_path_factory.mktemp("second") / ODD
    clone, environments, temporary = odd / "clone", odd / "环境 o'brien", odd / "t m p"
    for name in CLONED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, clone / name)
    environments.symlink_to(venvs_folder())
    temporary.mkdir()
    places = {"MINDTUNE_VENVS": str(environments), "TMPDIR": str(temporary)}
    return run_demo(odd / "deeper" / "demo", "--target", "results/runs/main/export", root=clone, **places)
