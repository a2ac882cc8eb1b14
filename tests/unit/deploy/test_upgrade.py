"""A server that is killed, upgraded and taken back while clients ask: each request ends, with a
whole reply of one of the two exports or with an error that its client sees.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mindtune.environments import interpreter
from stored_exports import ROOT, program

CLIENTS = 6
QUESTION = [{"role": "user", "content": "我最近总是失眠，怎么办？"}]
BUILD = """
import sys; from pathlib import Path
from models import build_small_model; from signed_export import seal
for seed, folder in enumerate(sys.argv[1:]): seal(build_small_model(Path(folder), seed))
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Two exports, whose replies differ."""
    folders = [tmp_path_factory.mktemp("导出") / name for name in ("old", "new")]
    paths = [ROOT / "scripts", ROOT / "tests/unit/builders"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    words = [interpreter("train"), "-c", BUILD, *map(str, folders)]
    subprocess.run(words, env=environment, check=True)
    return folders


class Service:
    """What systemd does with a server: start it from the store's link, end it, start it again."""

    def __init__(self, folder, store):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.store, self.key, self.log = store, folder / "serve.key", folder / "server.log"

    def start(self):
        words = [sys.executable, ROOT / "scripts/deploy/serve_export.py", "--export",
                 self.store / "current", "--configfile", ROOT / "config/demo.yaml",
                 "--port", str(self.port), "--key-file", self.key]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 240
        while self.ask(False)[0] != "whole":
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < end, self.log.read_text(encoding="utf-8")
            time.sleep(0.2)

    def stop(self, how):
        os.killpg(self.process.pid, how)
        self.process.wait(timeout=60)

    def ask(self, stream):
        """("whole", reply), ("error", what the client sees), or ("lost", what came) of a request
        that seems to have ended well and did not.
        """
        body = {"model": "mindtune-demo", "messages": QUESTION, "temperature": 0, "top_k": 1,
                "max_tokens": 12, "stream": stream}  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            key = self.key.read_text(encoding="ascii").strip() if self.key.exists() else "-"
            headers = {"Authorization": f"Bearer {key}"}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return "error", repr(error)
        finally:
            connection.close()
        if answer.status != 200:
            return "error", f"{answer.status} {said}"
        return read_stream(said) if stream else read_whole(said)


def read_whole(said):
    try:
        choice = json.loads(said)["choices"][0]
        return "whole", (choice["message"]["content"], choice["finish_reason"])
    except (ValueError, KeyError, IndexError):
        return "lost", said


def read_stream(said):
    if not said.rstrip().endswith("data: [DONE]"):
        return "lost", said
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in event["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return "whole", (text, next(c["finish_reason"] for c in choices if c.get("finish_reason")))


class Load:
    """Clients that ask one request after the other and note how each ended."""

    def __init__(self, service):
        self.service, self.over, self.begun = service, threading.Event(), 0
        self.outcomes, self.lock = [], threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=[n]) for n in range(CLIENTS)]

    def client(self, number):
        while not self.over.is_set():
            with self.lock:
                self.begun += 1
            outcome = self.service.ask(number % 2 == 0)
            with self.lock:
                self.outcomes.append(outcome)
            if outcome[0] == "error":
                time.sleep(0.1)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(timeout=150)


def change(service, how, *words):
    """End the server under load, activate another export, and start again; the load's outcomes."""
    with Load(service) as load:
        wait_for(lambda: sum(kind == "whole" for kind, _ in load.outcomes) >= CLIENTS)
        done = program("deploy/activate_export.py", service.store, *words)
        assert done.returncode == 0, done.stderr
        service.stop(how)
        wait_for(lambda: load.outcomes[-1:] and load.outcomes[-1][0] == "error")
        service.start()
        known = len(load.outcomes)
        wait_for(lambda: len(load.outcomes) >= known + 2 * CLIENTS)
    assert load.begun == len(load.outcomes), "a request never ended"
    return load.outcomes


def wait_for(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def test_nothing_is_lost_silently_in_a_kill_an_upgrade_and_a_rollback(exports, tmp_path):
    store = tmp_path / "store"
    incoming = tmp_path / "incoming"
    program("deploy/activate_export.py", store, exports[0])
    exports[1].rename(incoming)
    service = Service(tmp_path, store)
    service.start()
    try:
        old = service.ask(False)[1]
        upgraded = change(service, signal.SIGKILL, incoming)
        new = service.ask(False)[1]
        assert new != old and service.ask(True)[1] == new
        back = change(service, signal.SIGTERM, "--rollback")
        assert service.ask(False)[1] == old
    finally:
        service.stop(signal.SIGKILL)
    for outcomes in (upgraded, back):
        kinds = {kind for kind, _ in outcomes}
        assert kinds == {"whole", "error"}, [said for kind, said in outcomes if kind == "lost"]
        assert {said for kind, said in outcomes if kind == "whole"} == {old, new}
    assert not list(Path(store).glob("*.new")), "a link is left over"
