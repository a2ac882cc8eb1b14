"""A proven run and its export, made once for all tests of the room."""

import shutil
from pathlib import Path

import pytest
from proven_run import export_words, proven_run, run_program


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    return proven_run(tmp_path_factory)


@pytest.fixture(scope="session")
def exported(run_folder, tmp_path_factory):
    """An export folder and its record; not to be changed by a test."""
    out = tmp_path_factory.mktemp("导出")
    done = run_program("export_model.py", *export_words(run_folder, out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def copied(exported, tmp_path):
    """A copy that may be damaged."""
    return Path(shutil.copytree(exported / "export", tmp_path / "拷贝"))
