"""The provenance and the bill of materials of an archive, by the validators of their standards.

They live in an environment of their own, which is made once (a minute); skipped loudly without a
registry.
"""

import json
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest
from archived import archive, finished_run

ROOT = Path(__file__).resolve().parents[3]
VALIDATOR = ROOT / "tests/unit/builders/validate_crate.py"
PACKAGES = [
    "roc-validator==0.13.0",
    "rocrate==0.13.0",
    "cyclonedx-python-lib[json-validation]==11.12.0",
]
# What nobody told MindTune, and so it does not say; and a program is a file of the crate, not a
# page
UNKNOWN = {
    "The Application SHOULD have a url",
    "The SoftwareApplication id SHOULD be an absolute URI",
    "The Action SHOULD have an agent that is a Person or Organization",
    "The Root Data Entity SHOULD have a link to a Contextual Entity representing the `author` of "
    "the RO-Crate",
    "The `publisher` property of a `Root Data Entity` SHOULD be an `Organization`",
}


@pytest.fixture(scope="module")
def python():
    folder = ROOT / ".cache/validators-1"
    if not (folder / "READY").exists():
        venv.create(folder, with_pip=True, clear=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        done = subprocess.run(
            [str(folder / "bin/python"), *install], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"NOT VALIDATED: no registry has {PACKAGES}: {done.stderr[-300:]}")
        (folder / "READY").touch()
    return folder / "bin/python"


def test_an_archive_is_a_provenance_run_crate_and_has_a_bill_of_materials(
    python, tmp_path, monkeypatch
):
    (tmp_path / "code/demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "code/demo")
    finished_run(tmp_path)
    done, path = archive(tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(path) as zipped:
        zipped.extractall(tmp_path / "crate")
    found = subprocess.run(
        [str(python), str(VALIDATOR), str(tmp_path / "crate")], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-2000:]
    said = json.loads(found.stdout.splitlines()[-1])
    assert said["REQUIRED"] == {} and said["bom"] == "None"
    assert set(said["RECOMMENDED"]) == UNKNOWN, said["RECOMMENDED"]
