"""make reproduce runs the archived workflow in a new folder, and its exit status says how it came
out.
"""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from mindtune.audit.zipping import write_archive
from planning import ROOT

SNAKEFILE = """
rule all:
    output: "results/文.txt", "results/took.json", "results/weights/w.bin", "results/score.csv"
    shell: "python3 {workflow.basedir}/make.py {config[word]}"
"""
PROGRAM = """
import json, pathlib, sys, time
results = pathlib.Path("results")
(results / "文.txt").write_text(sys.argv[1], encoding="utf-8")
(results / "took.json").write_text(json.dumps({"facts": {"seconds": time.time()}}))
(results / "weights/w.bin").write_text("weights")
(results / "score.csv").write_text("a\\n1.5\\n")
"""


@pytest.fixture
def archive(tmp_path):
    """An archive of a workflow of one rule; its weights are named by hash alone."""
    weights = hashlib.sha256(b"weights").hexdigest()
    listing = hashlib.sha256(f"{weights}  w.bin\n".encode()).hexdigest()

    def write(changed=None):
        files = {
            "code/Snakefile": SNAKEFILE.encode(),
            "code/make.py": PROGRAM.encode(),
            "config.json": json.dumps({"word": "好"}).encode(),
            "results/文.txt": "好".encode(),
            "results/took.json": b'{"facts": {"seconds": 0.5}}',
            "results/score.csv": b"a\n1.5\n",
        } | (changed or {})
        withheld = {"results/weights": {"sha256": listing, "record": "", "why": "weights"}}
        path = tmp_path / "in.zip"
        write_archive(path, files, {"withheld": withheld, "code_from_work": ".."})
        return path

    return write


def reproduce(archive, workdir, *words):
    """(exit status, what was printed) of the tool, under another umask, locale and hash seed."""
    command = [sys.executable, str(ROOT / "scripts/tools/reproduce.py"), "--cores", "1"]
    command += ["--archive", str(archive), "--workdir", str(workdir), *words]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONHASHSEED": "77"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, umask=0o077)
    return done.returncode, done.stdout + done.stderr


def test_it_runs_again_elsewhere_and_compares(archive, tmp_path):
    path, place = archive(), tmp_path / "别处/deep"
    status, said = reproduce(path, place)
    assert status == 0, said
    assert "3 identical, 1 within tolerance\n" in said, said
    assert json.loads((place / "reproduction.json").read_text(encoding="utf-8")) == {
        "results/score.csv": ["identical", ""],
        "results/took.json": ["within tolerance", "measured numbers differ"],
        "results/文.txt": ["identical", ""],
        "results/weights": ["identical", ""],
    }
    # what came out otherwise has a status of its own, and the folder belongs to its archive
    other = archive({"results/score.csv": b"a\n1.4\n"})
    status, said = reproduce(other, place)
    assert status == 2 and "holds another archive" in said
    status, said = reproduce(other, tmp_path / "again")
    assert status == 1 and "different" in said and "row 2, a was 1.4 and is 1.5" in said, said
    assert reproduce(other, tmp_path / "again", "--tolerance", "0.1")[0] == 0


def test_a_run_that_fails_is_one_sentence(archive, tmp_path):
    path = archive({"code/Snakefile": b"rule all:\n    input: 'none'\n"})
    status, said = reproduce(path, tmp_path / "to")
    assert status == 2 and "the archived workflow ended with status 1" in said
