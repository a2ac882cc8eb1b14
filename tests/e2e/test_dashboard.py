"""SwanLab's own dashboard over the demo's trainings: what its HTTP interface answers, and that nothing is left and nobody was told."""

import csv
import json
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 600  # its environment is made on the first call


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def start(work, port, **options):
    """`make dashboard` in a process group of its own, as a terminal gives it."""
    words = ["make", "dashboard", f"WORKDIR={work}", f"PORT={port}"]
    return subprocess.Popen(words, cwd=ROOT, start_new_session=True, text=True, **options)


def ask(port, path):
    """What the dashboard answers."""
    with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return answer.read().decode()


def data(port, path):
    """The data of an answer of the HTTP interface."""
    return json.loads(ask(port, f"api/v1/{path}"))["data"]


@contextmanager
def dashboard(work, port, log, **environment):
    """A dashboard that answers; Ctrl-C ends it."""
    with open(log, "w") as stream:
        process = start(work, port, env={**os.environ, **environment}, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + BUILD_SECONDS
        while f"dashboard on http://127.0.0.1:{port}" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def curve(port, experiment, metric):
    """{step: value} of an experiment's metric."""
    points = data(port, f"experiment/{experiment}/tag/{metric.replace('/', '%2F')}")["list"]
    return {point["index"]: point["data"] for point in points}


def test_the_dashboard_shows_every_step_and_leaves_nothing(demo, tmp_path):
    port, temporary, log = free_port(), tmp_path / "temporary", tmp_path / "log.txt"
    temporary.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as outside:
        told = {"SWANLAB_API_KEY": "planted", "SWANLAB_WEBHOOK": f"http://127.0.0.1:{outside.getsockname()[1]}"}
        with dashboard(demo.work, port, log, TMPDIR=str(temporary), **told) as process:
            assert "<title>SwanLab</title>" in ask(port, "")
            experiments = data(port, "project")["experiments"]
            assert [experiment["name"] for experiment in experiments] == ["main", "seed43"]
            for experiment in experiments:
                shows_the_history(demo.results / "runs" / experiment["name"], port, experiment)
            assert len(list(temporary.iterdir())) == 1
            second = start(demo.work, port, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert f"error: port {port} on 127.0.0.1 cannot be had" in second.communicate(timeout=60)[1]
            assert second.returncode == 2
        outside.setblocking(False)
        with pytest.raises(BlockingIOError):
            outside.accept()
    assert log.read_text().endswith("the dashboard ended\n"), log.read_text()
    assert list(temporary.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    with pytest.raises(URLError):
        ask(port, "")


def shows_the_history(run, port, experiment):
    """The dashboard has a run's losses, learning rates and dev losses at their steps, and its settings."""
    with open(run / "history.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 1 and any(row["dev_loss"] for row in rows)
    for metric, column in (("train/loss", "loss"), ("train/learning_rate", "learning_rate"), ("eval/loss", "dev_loss")):
        expected = {int(row["step"]): float(row[column]) for row in rows if row[column]}
        assert curve(port, experiment["id"], metric) == expected
    params = json.loads((run / "train_lora.json").read_text(encoding="utf-8"))["params"]
    assert {name: entry["value"] for name, entry in experiment["config"].items()} == params
