"""Two runs or two archives, told apart by what was set and what came out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from archived import CONFIG, archive, finished_run
from mindtune.audit.difference import difference, side
from mindtune.cli import UserError
from mindtune.records import write_json, write_record

PROGRAM = Path(__file__).resolve().parents[3] / "scripts/tools/diff.py"
FOLDER = "results/data/数据"


def trained(run, rate, bleu, version):
    """The records of one run."""
    params = {"learning_rate": rate, "lora": {"rank": 8}}
    path = Path(f"results/runs/{run}/train_lora.json")
    write_record(
        path, "train_lora", inputs=[f"{FOLDER}/clean.jsonl"], outputs=[], params=params,
        facts={"last_loss": bleu / 10, "seconds": bleu},
    )  # fmt: skip
    record = json.loads(path.read_text())
    write_json(path, record | {"env": {"torch": version}})
    rows = [{"system": "tuned", "metric": "BLEU", "value": bleu, "low": bleu - 1, "high": bleu + 1}]
    write_record(
        f"results/runs/{run}/scores/dialogue.json", "score_dialogue", inputs=[], outputs=[],
        params={}, facts={"rows": rows},
    )  # fmt: skip


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "code/demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "code/demo")
    finished_run(tmp_path)
    return tmp_path


def test_two_runs(work):
    trained("甲", 0.0002, 3.0, "2.12")
    trained("乙", 0.0001, 4.0, "2.13")
    write_record("results/runs/乙/smoke.json", "verify_serving", inputs=[], outputs=[],
                 params={"port": 1}, facts={})  # fmt: skip
    command = [sys.executable, str(PROGRAM), "--a", "甲", "--b", "乙"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "A is 甲, B is 乙.",
        "only B has verify_serving",
        "settings: 1 of 2 differ",
        "    train_lora.learning_rate: 2.0e-4 -> 1.0e-4",
        "data: all 1 are the same",
        "code: nothing is known",
        "packages: 1 of 1 differ",
        "    train_lora: torch: 2.12 -> 2.13",
        "numbers: 2 of 2 differ",
        "    train_lora last_loss: 0.3 -> 0.4",
        "    tuned BLEU: 3.0 [2.0, 4.0] -> 4.0 [3.0, 5.0]",
    ]
    same = difference(side("甲"), side("甲"))
    assert len(same) == 6 and not any(line.endswith("differ") for line in same)
    with pytest.raises(UserError, match="one of main, 乙, 甲"):
        side("丙")


def test_two_archives(work):
    runs = {"runs": {"main": {"dataset": "数据"}}, "train": {"seed": 1, "lora": {"rank": 8}}}
    write_json("start.json", {"config": CONFIG | runs, "environments": {}})
    _, one = archive(work)
    runs["runs"]["main"]["seed"] = 2
    write_json("start.json", {"config": CONFIG | runs, "environments": {}})
    (work / "code/scripts/train_lora.py").write_text("SPARE = 1\n")
    _, other = archive(work, "results/archive/again.zip")
    lines = difference(side(str(one)), side(str(other)))
    assert "    train.seed: 1 -> 2" in lines and "data: all 1 are the same" in lines
    place = lines.index("code: 1 of 4 differ")
    assert lines[place + 1].startswith("    scripts/train_lora.py: ")
