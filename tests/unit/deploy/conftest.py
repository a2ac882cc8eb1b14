"""A signed export, and copies of it that a test may change."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mindtune.environments import venv_name, venvs_folder
from signed_export import keys, make_export
from stored_exports import make_export as stored_export

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A signed export and the public key; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("导出")
    private, public = keys(folder, "作者")
    return make_export(folder / "export", private), public


@pytest.fixture
def copied(export, tmp_path):
    """A copy that may be changed, and the public key."""
    return Path(shutil.copytree(export[0], tmp_path / "拷贝")), export[1]


@pytest.fixture(scope="module")
def core():
    """The interpreter of the core environment."""
    python = Path(venvs_folder(), venv_name("core", False), "bin/python")
    if not python.exists():
        pytest.skip("the core environment is not built")
    return python


@pytest.fixture
def signed(tmp_path, core):
    """A signed export, the public key, and the interpreter that can check."""
    private, public = keys(tmp_path, "o'brien 作者")
    export = stored_export(tmp_path / "new", "一")
    code = (
        "import sys; from pathlib import Path; from mindtune.export.signing import sign; "
        "sign(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    subprocess.run([core, "-c", code, export, private], env=environment, check=True)
    return export, public, core
