"""Sending a recording: what is refused, and that a key shows nowhere. A server does not exist
here; a closed port answers for it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sealed import write_sealed

PROGRAM = Path(__file__).resolve().parents[3] / "scripts" / "sync_swanlab.py"
PLANTED = "planted-swanlab-key-0123456789"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A record of a training, and the recording of two steps."""
    folder = tmp_path_factory.mktemp("训练")
    write_sealed(folder / "train_lora.json", "train_lora", facts={"run_id": "abc0123"})
    record = (
        "import sys, swanlab\n"
        "swanlab.init(project='mindtune', name='main', id='abc0123', mode='offline', "
        "log_dir=sys.argv[1])\n"
        "swanlab.log({'train/loss': 2.0}, step=1)\nswanlab.finish()\n"
    )
    state = folder / "state/abc0123/swanlab"
    subprocess.run([sys.executable, "-c", record, str(state)], check=True, capture_output=True)
    return folder


def sync(folder, **environment):
    words = [
        "--train-record",
        folder / "train_lora.json",
        "--state-root",
        folder / "state",
        "--project",
        "mindtune",
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SWANLAB")}
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, words), "--record", str(folder / "sync.json")],
        env={**kept, **environment}, capture_output=True, text=True,
    )  # fmt: skip


def test_without_a_key_nothing_is_sent(trained):
    done = sync(trained)
    assert done.returncode == 2 and done.stderr.startswith("error: SWANLAB_API_KEY is not set")


def test_a_state_that_was_removed_is_named(trained, tmp_path):
    (tmp_path / "train_lora.json").write_bytes((trained / "train_lora.json").read_bytes())
    done = sync(tmp_path, SWANLAB_API_KEY=PLANTED)
    assert done.returncode == 2 and "abc0123/swanlab holds no recording" in done.stderr


def test_a_server_that_does_not_answer_is_an_error_without_the_key(trained):
    done = sync(trained, SWANLAB_API_KEY=PLANTED, SWANLAB_API_HOST="http://127.0.0.1:9")
    assert done.returncode == 2 and "SwanLab did not take" in done.stderr
    assert PLANTED not in done.stdout + done.stderr
    assert not (trained / "sync.json").exists()
