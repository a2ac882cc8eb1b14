"""The engine interface with a real server on a real (random, tiny) model: its answers, its
refusals, and its end.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engines import ENGINE, ROOT
from mindtune.cli import UserError
from mindtune.serve import server_process
from mindtune.serve.engine import serve
from mindtune.serve.engine_settings import check_engine
from mindtune.serve.server_process import group_members, port_open

# The settings and LMDeploy's command line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cache_max_entry_count": 0}, "no room for a single token"),
        ({"cache_max_entry_count": 1.0}, "between 0 and 1"),
        ({"session_len": 0}, "session_len is 0"),
        ({"tp": "1"}, "tp is '1'"),
        ({"threads": True}, "threads is True"),
        ({"engine": "vllm"}, "vllm"),
        ({"engine": "lmdeploy"}, "needs device gpu"),
        ({"backend": "pt"}, "pytorch and turbomind"),
        ({"port": 8000}, "port is unknown"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        check_engine({**ENGINE, **change})


def test_a_missing_setting_is_named():
    with pytest.raises(UserError, match="session_len is missing"):
        check_engine({name: value for name, value in ENGINE.items() if name != "session_len"})


# The KV cache


# Pure parts of the transformers server


# The running server


# People and units


# Start and end


def test_a_server_that_cannot_start_is_reported_with_its_own_words(model, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    start = time.monotonic()
    with (
        pytest.raises(UserError, match="(?i)before it answered: .*safetensor.*server.log"),
        serve(broken, ENGINE, tmp_path / "server.log"),
    ):
        pass
    assert time.monotonic() - start < 100, "waited although the server had ended"


def test_a_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with (
        pytest.raises(UserError, match="no model folder"),
        serve(tmp_path, ENGINE, tmp_path / "server.log"),
    ):
        pass


PARENT = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from mindtune.serve.engine import serve
with serve(sys.argv[2], json.loads(sys.argv[3]), Path(sys.argv[4])) as server:
    print(server.group, server.port, flush=True)
    time.sleep(600)
"""


def gone(group: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while group_members(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not group_members(group)


def test_the_server_ends_with_a_parent_that_is_killed(model, tmp_path):
    command = [
        sys.executable,
        "-c",
        PARENT,
        ROOT / "scripts",
        model,
        json.dumps(ENGINE),
        tmp_path / "server.log",
    ]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        group, port = map(int, parent.stdout.readline().split())
        assert group_members(group) and port_open(port)
        parent.kill()
    assert gone(group, 15) and not port_open(port)
    assert not list(tmp_path.rglob("key")), "the key outlived the server"


def start(code: str, tmp_path: Path) -> subprocess.Popen:
    process = server_process.start_group(
        [sys.executable, "-c", code], dict(os.environ), tmp_path / "log"
    )
    while "ready" not in (tmp_path / "log").read_text():
        time.sleep(0.05)
    return process


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    print("ready", flush=True)
time.sleep(600)
"""


def test_processes_that_ignore_sigterm_are_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(server_process, "GRACE_S", 1)
    process = start(STUBBORN, tmp_path)
    assert len(group_members(process.pid)) == 3
    server_process.stop(process, None)
    assert not group_members(process.pid)


def test_the_command_dies_with_a_watchdog_that_is_killed(tmp_path):
    process = start("import time; print('ready', flush=True); time.sleep(600)", tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    assert gone(process.pid, 5)
    server_process.stop(process, None)
