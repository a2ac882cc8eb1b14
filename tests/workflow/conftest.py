"""One finished project for all tests of the plan; each test leaves it as it found it."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from planning import ROOT, Project


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    project = copy_of_the_workflow(tmp_path_factory.mktemp("plan"))
    project.finish()
    return project


def copy_of_the_workflow(folder):
    """A project of which nothing is made yet."""
    # the project's environments are empty files: never among real ones
    os.environ.setdefault("MINDTUNE_TEST_VENVS", str(folder / "venvs"))
    os.environ["MINDTUNE_VENVS"] = os.environ["MINDTUNE_TEST_VENVS"]
    project = Project(folder)
    for name in (
        "Snakefile",
        "rules",
        "scripts",
        "config",
        "envs",
        "resources",
        "profiles",
        "slurm-h100",
    ):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, project.root / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            project.root.mkdir(exist_ok=True)
            shutil.copy(source, project.root / name)
    project.work.mkdir()
    return project
