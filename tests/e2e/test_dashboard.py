"""SwanLab's own dashboard over the demo's trainings: what its HTTP interface answers, to whom, and
that nothing is left.

It answers the page's own questions for whoever has the printed address: nobody else, no other
method, no other path.
"""

# Kept long: one dashboard and one training are started for all of these tests.

import csv
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 600  # its environment is made on the first call


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def start(work, port, env=os.environ, **options):
    """`make dashboard` in a process group of its own, as a terminal gives it."""
    words = ["make", "dashboard", f"WORKDIR={work}", f"PORT={port}"]
    # under another make it would say which folders it enters
    env = {name: value for name, value in env.items() if name not in ("MAKELEVEL", "MAKEFLAGS")}
    return subprocess.Popen(words, cwd=ROOT, start_new_session=True, text=True, env=env, **options)


class Browser:
    """Opens the address that was printed, and keeps the cookie that it gets."""

    def __init__(self, log):
        self.address = re.search(
            r"dashboard on (http://127\.0\.0\.1:\d+/\?token=\S+) ", log.read_text()
        )[1]
        self.root, _, self.token = self.address.partition("?token=")
        self.jar = HTTPCookieProcessor()
        self.opener = build_opener(self.jar)

    def ask(self, path):
        """What the dashboard answers."""
        with self.opener.open(self.root + path, timeout=10) as answer:
            return answer.read().decode()

    def data(self, path):
        """The data of an answer of the HTTP interface."""
        return json.loads(self.ask(f"api/v1/{path}"))["data"]

    def curve(self, experiment, metric):
        """{step: value} of an experiment's metric."""
        points = self.data(f"experiment/{experiment}/tag/{metric.replace('/', '%2F')}")["list"]
        return {point["index"]: point["data"] for point in points}

    def open(self):
        """The first page, which is asked for with the address as it was printed."""
        with self.opener.open(self.address, timeout=10) as answer:
            assert answer.url == self.root, "the token stays in the address"
            return answer.read().decode()


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


def test_the_dashboard_shows_every_step_and_leaves_nothing(demo, tmp_path):
    port, temporary, log = free_port(), tmp_path / "temporary", tmp_path / "log.txt"
    temporary.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as outside:
        told = {
            "SWANLAB_API_KEY": "planted",
            "SWANLAB_WEBHOOK": f"http://127.0.0.1:{outside.getsockname()[1]}",
        }
        with dashboard(demo.work, port, log, TMPDIR=str(temporary), **told) as process:
            browser = Browser(log)
            assert "<title>SwanLab</title>" in browser.open()
            experiments = browser.data("project")["experiments"]
            assert [experiment["name"] for experiment in experiments] == ["main", "seed43"]
            for experiment in experiments:
                shows_the_history(demo.results / "runs" / experiment["name"], browser, experiment)
            assert len(list(temporary.iterdir())) == 1
            second = start(demo.work, port, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert (
                f"error: port {port} on 127.0.0.1 cannot be had"
                in second.communicate(timeout=60)[1]
            )
            assert second.returncode == 2
        outside.setblocking(False)
        with pytest.raises(BlockingIOError):
            outside.accept()
    assert log.read_text().endswith("the dashboard ended\n"), log.read_text()
    assert list(temporary.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    with pytest.raises(URLError):
        urlopen(f"http://127.0.0.1:{port}/", timeout=10)


def shows_the_history(run, browser, experiment):
    """The dashboard has a run's losses, learning rates and dev losses at their steps, and its
    settings.
    """
    with open(run / "history.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 1 and any(row["dev_loss"] for row in rows)
    for metric, column in (
        ("train/loss", "loss"),
        ("train/learning_rate", "learning_rate"),
        ("eval/loss", "dev_loss"),
    ):
        expected = {int(row["step"]): float(row[column]) for row in rows if row[column]}
        assert browser.curve(experiment["id"], metric) == expected
    params = json.loads((run / "train_lora.json").read_text(encoding="utf-8"))["params"]
    assert {name: entry["value"] for name, entry in experiment["config"].items()} == params


# ---------------------------------------------------------------------------- who may ask, for what


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A dashboard over one made-up training, a browser that opened it, and a key beside it."""
    folder = tmp_path_factory.mktemp("看板 o'brien")
    run = folder / "results/runs/main"
    run.mkdir(parents=True)
    (run / "history.csv").write_text("step,loss\n1,4.5\n2,4.25\n")
    key = folder / "state" / "serve.key"
    key.parent.mkdir()
    key.write_text("planted-serve-key-7f3a91c2\n")
    key.chmod(0o600)
    with dashboard(folder, free_port(), folder / "log.txt"):
        browser = Browser(folder / "log.txt")
        assert "<title>SwanLab</title>" in browser.open()
        yield browser, key


def request(browser, path, method="GET", **headers):
    """(status, headers, content) of a request whose path is sent as it stands, with the browser's
    cookie unless another is given.
    """
    port = int(browser.root.rsplit(":")[-1].strip("/"))
    cookie = "; ".join(f"{entry.name}={entry.value}" for entry in browser.jar.cookiejar)
    sent = {"Host": f"127.0.0.1:{port}", "Cookie": cookie, **headers}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, values in sent.items():
            for value in values if isinstance(values, list) else [values]:
                connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_the_cookie_is_for_this_page_alone(board):
    browser, _ = board
    status, headers, _ = request(browser, f"/?token={browser.token}", Cookie="")
    assert status == 303 and headers["Location"] == "/"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(headers["Set-Cookie"].split("; "))
    status, headers, _ = request(browser, "/")
    assert (
        status == 200
        and headers["Referrer-Policy"] == "no-referrer"
        and headers["X-Frame-Options"] == "DENY"
    )
    assert "default-src 'self'" in headers["Content-Security-Policy"]


def test_the_page_gets_its_files_and_curves(board):
    browser, _ = board
    page = browser.ask("")
    files = re.findall(r'"/(assets/[^"]+)"', page)
    assert len(files) >= 4 and all(request(browser, f"/{name}")[0] == 200 for name in files)
    assert request(browser, "/experiment/1/chart")[0] == 200
    assert browser.curve(1, "train/loss") == {1: 4.5, 2: 4.25}


def spellings(path):
    """A file's path as attackers write it."""
    up = "../" * 12 + str(path).lstrip("/")
    forms = [
        str(path),
        f"/{path}",
        up,
        up.replace("../", "..;/"),
        up.replace("/", "\\"),
        f"....//{up}",
    ]
    return [*forms, *[quote(form, safe="") for form in forms],
        *[quote(quote(form, safe=""), safe="") for form in forms],
            quote(up, safe="/").replace(".", "%2e"), up.replace("../", "%c0%ae%c0%ae/"),
            f"{up}%00.png"]  # fmt: skip


ROUTES = (
    "media/",
    "media",
    "experiment/1/tag/",
    "experiment/",
    "experiment/1/",
    "project/",
    "chart/",
    "namespace/",
)


@pytest.mark.parametrize(
    "route", [*[f"/api/v1/{route}" for route in ROUTES], "/assets/", "/", "/experiment/1/"]
)
def test_no_route_reads_a_file(board, route):
    browser, key = board
    for secret in (Path("/etc/passwd"), key):
        content = secret.read_bytes().splitlines()[0]
        for spelled in spellings(secret):
            path = f"{route}{spelled}".encode().decode("latin-1").replace(" ", "%20")
            path = quote(path, safe="/%\\.;~'?=&")
            for question in ("", "?tag=train%2Floss&experiment_id=1"):
                status, _, answer = request(browser, path + question)
                assert content not in answer, path
                assert status in (404, 400) or b"<title>SwanLab</title>" in answer, (path, status)


@pytest.mark.parametrize("path", ["/api/v1/media/x?tag=train%2Floss&experiment_id=1",
    "/api/v1/experiment/1/stop", "/docs",
    "/openapi.json", "/api/v1/project/update", "/api/v1/experiment/1/recent_log", "/assets/",
    "/assets/../index.html"])  # fmt: skip
def test_what_the_page_does_not_ask_is_closed(board, path):
    assert request(board[0], path)[0] == 404


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"]
)
def test_nothing_is_written_or_deleted(board, method):
    browser, _ = board
    for path in ("/api/v1/project", "/api/v1/experiment/1", "/api/v1/chart/1/status", "/"):
        assert request(browser, path, method)[0] in (400, 405), path
    assert [experiment["name"] for experiment in browser.data("project")["experiments"]] == ["main"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1",
    "127.0.0.1.evil.example:{port}",
    "localhost.:{port}", "", ["127.0.0.1:{port}", "evil.example"], "[::1]:{port}",
    "0.0.0.0:{port}"], ids=str)  # fmt: skip
def test_another_host_is_refused(board, host):
    """A page of elsewhere whose name was made to mean this machine (DNS rebinding) sends its own
    name.
    """
    browser, _ = board
    port = browser.root.rsplit(":")[-1].strip("/")
    hosts = [text.format(port=port) for text in (host if isinstance(host, list) else [host])]
    assert request(browser, "/api/v1/project", Host=hosts)[0] in (400, 403)
    assert request(browser, "/api/v1/project", Host=f"localhost:{port}")[0] == 200


def test_another_origin_is_refused(board):
    browser, _ = board
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1:1",
        f"http://localhost:{browser.root}",
    ):
        status, headers, _ = request(browser, "/api/v1/project", Origin=origin)
        assert status == 403 and "Access-Control-Allow-Origin" not in headers
    assert request(browser, "/api/v1/project", Origin=browser.root.strip("/"))[0] == 200


def test_without_the_token_there_is_no_answer(board):
    browser, _ = board
    [cookie] = browser.jar.cookiejar
    for wrong in ("", f"{cookie.name}=", f"{cookie.name}={browser.token[:-1]}",
        f"{cookie.name}={browser.token}x",
                  f"{cookie.name}=\xe4", f"other={browser.token}", "=;;\x01"):  # fmt: skip
        for path in (
            "/",
            "/api/v1/project",
            "/assets/x.js",
            f"/?token={browser.token[:-1]}x",
            "/?token=",
            "/charts",
        ):
            status, _, answer = request(browser, path, Cookie=wrong)
            assert status in (400, 403) and b"SwanLab" not in answer, (wrong, path)
    assert request(browser, f"/api/v1/project?token={browser.token}", Cookie="")[0] == 403


def test_a_websocket_is_refused(board):
    browser, _ = board
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "eA==",
    }
    assert request(browser, "/api/v1/media/x", **upgrade)[0] == 404
