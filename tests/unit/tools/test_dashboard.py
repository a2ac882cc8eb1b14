"""What the dashboard shows: every step of finished trainings, the others as far as they came, and
nothing of the user's settings.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.cli import UserError
from tools.show_dashboard import check, color, leave_settings_behind, listen
from tools.trainings import METRICS, trainings

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
HISTORY = "step,loss,packs,tokens_per_second,mfu,epoch,learning_rate,grad_norm,dev_loss\n"


def finish(work, run, key):
    """A finished training of two steps."""
    folder = work / "results/runs" / run
    folder.mkdir(parents=True)
    rows = "1,4.089975357055664,4,14891.5,,0.5,0.001,1.5,\n2,3.5,4,14000.0,0.41,1.0,0.0,1.25,8.25\n"
    (folder / "history.csv").write_text(HISTORY + rows)
    (folder / "train_lora.json").write_text(
        json.dumps({"params": {"seed": 42}, "facts": {"run_id": key}})
    )


def start(work, run, key, steps, log=""):
    """A training's state, with the lines of its observer and of its trainer."""
    folder = work / "state/train" / run / key
    folder.mkdir(parents=True)
    (folder / "steps.jsonl").write_text(steps)
    if log:
        (folder / "logging.jsonl").write_text(log)


def test_every_step_of_a_history_with_the_settings(tmp_path):
    finish(tmp_path, "主", "aa")
    [training] = trainings(tmp_path)
    assert (
        training.name == "主" and training.settings == {"seed": 42} and training.note == "finished"
    )
    first = {"train/loss": 4.089975357055664, "train/learning_rate": 0.001, "train/grad_norm": 1.5,
        "train/tokens_per_second": 14891.5}  # fmt: skip
    assert training.steps[1] == first
    assert training.steps[2]["eval/loss"] == 8.25 and training.steps[2]["train/mfu"] == 0.41
    assert training.values() == 4 + 6


def test_a_training_without_a_history_is_shown_as_far_as_it_came(tmp_path):
    steps = (
        '{"step": 1, "loss": 4.5}\n{"step": 2, "loss": 9.0}\n{"step": 2, "loss": 4.25, '
        '"watts": 600}\n'
    )
    steps += '{"step": 3, "loss": NaN, "mfu": null}\n{"step": 4, "lo'
    log = '{"loss": 4.3, "learning_rate": 0.001, "global_step/max_steps": "2/8"}\n'
    log += '{"eval_loss": 8.5, "global_step/max_steps": "2/8"}\n{"best_metric": 8.5}\n{"loss": 4.'
    start(tmp_path, "main", "bb", steps, log)
    [training] = trainings(tmp_path)
    assert training.name == "main bb" and "not finished" in training.note
    second = {
        "train/loss": 4.25,
        "train/watts": 600.0,
        "train/learning_rate": 0.001,
        "eval/loss": 8.5,
    }
    assert training.steps == {1: {"train/loss": 4.5}, 2: second, 3: {}}


def test_a_training_is_shown_once_and_another_one_of_its_run_beside_it(tmp_path):
    finish(tmp_path, "main", "aa")
    for run, key in (("main", "aa"), ("main", "bb"), ("seed43", "aa")):
        start(tmp_path, run, key, '{"step": 1, "loss": 4.5}\n')
    start(tmp_path, "seed43", "cc", '{"step": 1, "lo')
    assert [training.name for training in trainings(tmp_path)] == ["main", "main bb", "seed43 aa"]


def test_a_history_without_its_record_is_shown(tmp_path):
    finish(tmp_path, "main", "aa")
    (tmp_path / "results/runs/main/train_lora.json").unlink()
    assert [(training.name, training.settings) for training in trainings(tmp_path)] == [
        ("main", {})
    ]


def test_no_training_is_one_sentence(tmp_path):
    words = [
        sys.executable,
        SCRIPTS / "tools/show_dashboard.py",
        "--workdir",
        tmp_path,
        "--port",
        "0",
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr.startswith(f"error: {tmp_path} has no training")
        and done.stderr.count("\n") == 1
    )


def test_only_this_machine_can_ask_and_a_used_port_is_refused():
    with listen(0) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(
            UserError, match=f"port {port} on 127.0.0.1 cannot be had .* name another PORT"
        ):
            listen(port)
    with pytest.raises(UserError, match="port 99999 .* 0 to 65535"):
        listen(99999)


def test_swanlab_is_given_none_of_the_users_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        os,
        "environ",
        {"SWANLAB_API_KEY": "planted", "SWANLAB_WEBHOOK": "http://planted", "HOME": "/"},
    )
    leave_settings_behind(tmp_path / "..")
    assert Path.cwd() == tmp_path.parent and os.environ["HOME"] == "/"
    assert "planted" not in " ".join(os.environ.values())


def test_values_that_swanlab_did_not_write_are_an_error(tmp_path):
    finish(tmp_path, "main", "aa")
    found = trainings(tmp_path)
    logs = tmp_path / "run-1/logs/1"
    logs.mkdir(parents=True)
    (logs / "1000.log").write_text("{}\n" * 10)
    check(found, tmp_path)
    (logs / "1000.log").write_text("{}\n" * 9)
    with pytest.raises(UserError, match="SwanLab wrote 9 of 10 values"):
        check(found, tmp_path)


def test_trainings_differ_in_color():
    assert len({color(number) for number in range(16)}) == 16 and len(color(0)) == 7


def test_metrics_are_columns_that_training_writes():
    written = (SCRIPTS / "mindtune/train/history.py").read_text() + "eval_loss"
    assert all(name in written for name in METRICS)
