"""Jobs side by side on one machine take different cards; what is visible is read as CUDA reads
it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.card_claims import claim, visible

HOLDS = """
import sys
from pathlib import Path
from mindtune.card_claims import free_cards
print(",".join(free_cards(int(sys.argv[1]), ["0", "3", "GPU-5f1e"], Path(sys.argv[2]))), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that takes cards, and tell which it got; all of them are gone afterwards."""
    started = []

    def start(wanted):
        command = [sys.executable, "-c", HOLDS, str(wanted), str(tmp_path / "锁")]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "scripts")}
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_no_two_jobs_hold_the_same_card(holder):
    first, seen = holder(1)
    assert seen == "0"
    _, seen = holder(2)
    assert seen == "3,GPU-5f1e"
    assert holder(1)[1] == "", "all are taken"
    first.kill()
    first.wait()
    assert holder(1)[1] == "0", "a killed job holds nothing"


def test_one_that_does_not_get_all_it_wants_holds_none(holder):
    assert holder(1)[1] == "0"
    assert holder(3)[1] == ""
    assert holder(2)[1] == "3,GPU-5f1e"


def test_in_a_clusters_job_nothing_is_chosen(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    claim(1, 8, {"SLURM_JOB_ID": "12", "CUDA_VISIBLE_DEVICES": "7"})
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


@pytest.mark.parametrize(
    ("setting", "seen"),
    [
        (None, 8), ("", 0), ("0", 1), ("0,3", 2), (" 1, 2 ", 2), ("-1", 0), ("2,-1,3", 1), ("9", 0),
        ("1,1", 1),
        ("GPU-5f1e,MIG-77", 2), ("NoDevFiles", 0),
    ],
)  # fmt: skip
def test_only_visible_cards_count(setting, seen):
    assert len(visible(8, setting)) == seen
