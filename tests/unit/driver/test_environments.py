"""The environments of make targets: named if they are there, built if not, and no path of one that cannot be built."""

import os
import subprocess
import sys
from pathlib import Path

from mindtune.environments import venv_name

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


def test_an_environment_that_cannot_be_built_is_an_error_and_no_path(tmp_path):
    done = interpreter("core", MINDTUNE_VENVS=str(tmp_path), UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 2 and done.stdout == ""
    assert "check the connection to the package registry" in done.stderr.splitlines()[-1]
