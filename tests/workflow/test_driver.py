"""make's driver environment: another lock gets another one, and what runs in the first goes on."""

import os
import shutil
import subprocess
import sys

import pytest
from planning import ROOT


@pytest.fixture
def checkout(tmp_path):
    """The Makefile, and a lock of no package."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/driver.lock").write_text("# no package\n")
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def setup(checkout):
    """Call make; return the environment to which .venv leads."""
    words = ["make", "--silent", "setup", f"PYTHON={sys.executable}"]
    subprocess.run(words, cwd=checkout, check=True, capture_output=True)
    return (checkout / ".venv").resolve()


def test_another_lock_takes_no_environment_away_from_what_runs_in_it(checkout):
    first = setup(checkout)
    running = subprocess.Popen(
        [checkout / ".venv/bin/python", "-c", "input(); import colorsys, pip; print(pip.__file__)"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    made = (first / "READY").stat().st_mtime_ns
    os.utime(checkout / "envs/driver.lock")
    assert setup(checkout) == first and (first / "READY").stat().st_mtime_ns == made
    (checkout / "envs/driver.lock").write_text("# another\n")
    second = setup(checkout)
    assert second != first and (first / "bin/python").exists()
    said, _ = running.communicate("\n", timeout=60)
    assert running.returncode == 0 and "site-packages" in said
    (checkout / "envs/driver.lock").write_text("# no package\n")
    assert setup(checkout) == first and (first / "READY").stat().st_mtime_ns == made


def test_an_environment_of_an_earlier_version_is_put_aside_and_not_removed(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv/kept").touch()
    assert setup(checkout).parent == checkout / ".venvs"
    assert list((checkout / ".venvs").glob("earlier-*/kept"))
