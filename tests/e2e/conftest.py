"""The demo, run once for all tests, and its deterministic part once more in another folder."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Demo:
    """A finished demo: its working directory, what it printed, and the seconds it took."""

    work: Path
    output: str
    seconds: float

    @property
    def results(self) -> Path:
        return self.work / "results"


def run_demo(work: Path, *arguments: str) -> Demo:
    """Run scripts/demo.py as `make demo` does; its output is shown if it fails."""
    command = [sys.executable, str(ROOT / "scripts/demo.py"), "--model", "tiny", "--workdir", str(work), "--cores", "2"]
    start = time.monotonic()
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
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
    """The part up to the export of run `main`, made anew in a folder at another depth."""
    return run_demo(tmp_path_factory.mktemp("second") / "deeper" / "demo", "--target", "results/runs/main/export")
