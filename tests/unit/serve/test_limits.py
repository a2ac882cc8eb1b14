"""What clients without a key, with little patience or with too much to say can do to the server:
real connections to a real process that may open 1,024 files.
"""

# Kept long: one server with small limits is started for all of these tests.

import http.client
import json
import resource
import shlex
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from engines import SHORT_ENGINE
from mindtune.serve.engine import Server, serve
from mindtune.serve.guards import body_limit, proof
from mindtune.serve.server_process import group_members
from models import build_small_model

FILES = 1024
CHAT = [{"role": "user", "content": "我最近总是失眠"}]
ASKED = {"model": "demo", "messages": CHAT, "temperature": 0, "max_tokens": 1}


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("log") / "server.log"


@pytest.fixture(scope="module")
def server(tmp_path_factory, log):
    """A server whose process, and it alone, may open 1,024 files."""
    folder = tmp_path_factory.mktemp("limits")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    model = build_small_model(folder / "model")
    with serve(model, {**SHORT_ENGINE, "python": str(python)}, log) as running:
        yield running


@pytest.fixture(autouse=True)
def files_of_our_own():
    """The clients are in this process, which needs a descriptor for each of their connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def connections(server: Server, number: int, said: bytes = b""):
    """Open connections on which the start of a request was said."""
    with ExitStack() as stack:
        opened = []
        for _ in range(number):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), timeout=30)
            )
            client.sendall(said)
            opened.append(client)
        yield opened


def post(server: Server, body: bytes, **headers: str) -> tuple[int, dict]:
    """Status and answer of a chat request with a body as given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.api_key}", **headers}
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def memory_mb(server: Server) -> float:
    """Resident memory of the server's processes."""
    pages = 0
    for pid in group_members(server.group):
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def ended(client: socket.socket, seconds: float) -> bool:
    """Whether the server closes a connection in time; the rest of its answer may come first."""
    client.settimeout(seconds)
    try:
        while client.recv(4096):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("said", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"])
def test_1020_open_connections_without_a_key_hold_nobody_up(server, log, said):
    size = log.stat().st_size
    with connections(server, 1020, said):
        start = time.monotonic()
        for _ in range(5):
            assert post(server, json.dumps(ASKED).encode())[0] == 200
        assert time.monotonic() - start < 30  # it answered nothing at all
    assert log.stat().st_size - size < 2_000


def test_a_head_that_comes_byte_by_byte_ends(server):
    start = time.monotonic()
    with connections(server, 1, b"GET /health HTTP/1.1\r\n") as (slow,):
        while not ended(slow, 0.5) and time.monotonic() - start < 30:
            try:
                slow.sendall(b"X")
            except ConnectionError:
                break
        assert 8 < time.monotonic() - start < 20
    # the same on a connection that was answered before; one that said more before the answer's end
    # is closed as an idle one, earlier
    whole = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with connections(server, 1, whole) as (slow,):
        answer = http.client.HTTPResponse(slow)
        answer.begin()
        assert answer.status == 200 and answer.read()
        time.sleep(0.2)
        slow.sendall(b"GET /health")
        start = time.monotonic()
        assert ended(slow, 20) and time.monotonic() - start > 8
    with connections(server, 1, whole + b"GET /health") as (slow,):
        assert b" 200 " in slow.recv(4096)
        time.sleep(0.2)
        slow.setblocking(False)
        with suppress(BlockingIOError):
            slow.recv(4096)  # the rest of the answer
        assert ended(slow, 20)


def test_a_body_without_a_key_is_not_waited_for(server):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"
    with connections(server, 1, head) as (client,):
        assert client.recv(4096).startswith(b"HTTP/1.1 401 ")
        assert ended(client, 5)


def test_a_body_of_15_mb_is_refused_and_keeps_no_memory(server):
    before, most = memory_mb(server), body_limit(SHORT_ENGINE["session_len"])
    body = json.dumps({**ASKED, "messages": [{"role": "user", "content": "a" * 15_000_000}]})
    for _ in range(3):
        status, answer = post(server, body.encode())
        assert status == 413 and f"more than {most:,} bytes" in answer["error"]["message"]
    # in pieces, without a word on its length
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.api_key}"}
    pieces = (body[start : start + 65_536].encode() for start in range(0, len(body), 65_536))
    connection.request("POST", "/v1/chat/completions", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert memory_mb(server) - before < 60
    assert post(server, json.dumps(ASKED).encode())[0] == 200


def test_a_text_that_cannot_fit_is_refused_before_it_is_tokenized(server):
    long = {**ASKED, "messages": [{"role": "user", "content": "失眠" * 150_000}]}
    before = memory_mb(server)
    status, answer = post(server, json.dumps(long, ensure_ascii=False).encode())
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
    assert "512" in answer["error"]["message"] and "900,000 bytes" in answer["error"]["message"]
    assert memory_mb(server) - before < 30


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 200_000, "nests too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nests too deeply"),
        (b'{"temperature": 1' + b"0" * 5000 + b"}", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_json_that_cannot_be_read_is_a_400(server, log, body, words):
    status, answer = post(server, body)
    assert status == 400 and words in answer["error"]["message"]
    assert "Traceback" not in log.read_text(encoding="utf-8")


def test_an_answer_on_an_open_connection_takes_no_time(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers, times = {"Authorization": f"Bearer {server.api_key}"}, []
    for _ in range(30):
        start = time.monotonic()
        connection.request("GET", "/v1/models", headers=headers)
        assert connection.getresponse().read()
        times.append(time.monotonic() - start)
    connection.close()
    # 44 ms without TCP_NODELAY, nearly every time: the system waits for an acknowledgement of the
    # head. A busy machine may be late as well, but not always
    assert sorted(times)[10] < 0.03


def test_more_requests_than_may_wait_are_told_so(tmp_path):
    import asyncio

    from mindtune.serve.guards import LimitRequests

    sent: list[dict] = []
    gate = asyncio.Event()

    async def app(scope, receive, send):
        await gate.wait()

    async def send(message):
        sent.append(message)

    async def run() -> None:
        guard, post = LimitRequests(app, 2), {"type": "http", "method": "POST"}
        tasks = [asyncio.create_task(guard(post, None, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await guard(post, None, send)
        assert sent[0]["status"] == 503 and "2 requests wait already" in sent[1]["body"].decode()
        gate.set()
        await asyncio.gather(*tasks)
        await guard(post, None, send)
        assert len(sent) == 2

    asyncio.run(run())


def test_the_server_proves_that_it_knows_the_key(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    nonce = "0123456789abcdef" * 4
    for asked, status in ((nonce, 200), ("x" * 64, 400), ("", 400), (nonce + "0", 400)):
        connection.request("GET", f"/proof?nonce={asked}")
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == status
        if status == 200:
            assert answer == {"proof": proof(server.api_key, server.port, nonce)}
            # another key, another port, another question: another proof
            others = [
                proof("other", server.port, nonce),
                proof(server.api_key, server.port + 1, nonce),
                proof(server.api_key, server.port, nonce[::-1]),
            ]
            assert answer["proof"] not in others and server.api_key not in str(answer)
    connection.close()


def test_clients_that_come_and_go_leave_nothing_behind(server):
    """Hung up at once, in the middle of a stream, and while they wait."""

    def hang_up(number: int) -> None:
        body = json.dumps({**ASKED, "max_tokens": 200, "stream": bool(number % 2)}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {server.api_key}\r\n\r\n"
        )
        with connections(server, 1, head.encode() + body) as (client,):
            time.sleep(0.02 * (number % 7))
            client.settimeout(0.2)

    pid = max(group_members(server.group))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hang_up, range(64)))
    start = time.monotonic()
    assert post(server, json.dumps(ASKED).encode())[0] == 200
    assert time.monotonic() - start < 20
    deadline = time.monotonic() + 10
    while (left := len(list(Path(f"/proc/{pid}/fd").iterdir()))) > files + 2:
        assert time.monotonic() < deadline, f"{left} descriptors are open, {files} before"
        time.sleep(0.2)
