"""A judge that is a model folder, served here by our own engine: nothing leaves the machine. Its
weights are random, so every answer is a failure, and every failure is counted.
"""

import json
import subprocess
import sys
from pathlib import Path

from judging import judge_command, write_replies
from models import build_small_model

ENGINE = {
    "engine": "transformers", "backend": "pytorch", "tp": 1, "session_len": 4096,
    "cache_max_entry_count": 0.8, "device": "cpu", "threads": 1, "startup_timeout_s": 120,
}  # fmt: skip


def test_a_model_folder_judges_and_nothing_of_it_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build_small_model(Path("judge"))
    write_replies(2)
    command = judge_command("", pairs=False, path="judge", model="own", max_tokens=32)
    more = ["--engine", json.dumps(ENGINE), "--engine-python", sys.executable]
    done = subprocess.run([*command, *more], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(Path("judged.json").read_text(encoding="utf-8"))["facts"]
    assert facts["judges"]["a"]["served"] == "here" and facts["judges"]["a"]["requests"] == 4
    rows = [json.loads(line) for line in Path("answers.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 4 and all(row["answer"]["read"] > 100 for row in rows)
    again = subprocess.run([*command, *more], capture_output=True, text=True)
    assert "asked now: a 0" in again.stdout
