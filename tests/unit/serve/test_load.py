"""The load client against a server of known behaviour: what it counts, what it times, and what it
refuses to count.
"""

import asyncio
import errno
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mindtune.serve.at_once import NotAnsweredError, Request, ask_all
from mindtune.serve.client import Client, Reply
from mindtune.serve.engine_settings import in_flight
from mindtune.serve.load import Answer, LoadError, Target, load, speeds

CHAT = [{"role": "user", "content": "我最近总是失眠，怎么办？"}]


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n"


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[dict]
) -> None:
    """A chat server's answer as LMDeploy writes it: in HTTP chunks, with `usage: null` in every
    event but the last.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = json.loads(await reader.readexactly(size))
    seen.append({**body, "key": head.split(b"Bearer ")[1].split(b"\r\n")[0].decode()})
    usage = {"prompt_tokens": 7, "completion_tokens": body["max_tokens"], "total_tokens": 0}
    if body["messages"][0]["content"] == "坏":
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n{}")
    elif not body["stream"]:
        choice = {"message": {"content": "好"}, "finish_reason": "length"}
        content = json.dumps({"choices": [choice], "usage": usage}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(content) + content)
    else:
        events = [event(choices=[{"delta": {"role": "assistant", "content": ""}}], usage=None)]
        events += [event(choices=[{"delta": {"content": "好"}}], usage=None)] * body["max_tokens"]
        events += [event(choices=[], usage=usage), b"data: [DONE]\n\n"]
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number, part in enumerate(events):
            if number:
                await asyncio.sleep(0.1)
            if body["messages"][0]["content"] == "断" and number == 2:
                break
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
    await writer.drain()
    writer.close()


@contextmanager
def chat_server():
    """A server in a thread; yields its port and the requests it saw."""
    seen: list[dict] = []
    loop, started = asyncio.new_event_loop(), threading.Event()
    holder: dict = {}

    async def serve() -> None:
        holder["server"] = await asyncio.start_server(
            lambda r, w: answer(r, w, seen), "127.0.0.1", 0
        )
        started.set()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.run_forever()))
    thread.start()
    started.wait()
    try:
        yield holder["server"].sockets[0].getsockname()[1], seen
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def target(port: int, stream: bool = True) -> Target:
    return Target(
        port, "钥匙-key".encode("ascii", "ignore").decode(), {"model": "m", "max_tokens": 4}, stream
    )


def test_a_stream_is_timed_from_its_first_text_to_its_last():
    with chat_server() as (port, seen):
        found = load(target(port), [CHAT] * 3, 2)
    assert [(row.prompt_tokens, row.completion_tokens) for row in found] == [(7, 4)] * 3
    for row in found:
        assert 0.09 < row.first - row.asked < 0.2, "the first event has no text"
        assert 0.3 < row.ended - row.asked < 0.8
    assert seen[0]["stream_options"] == {"include_usage": True} and seen[0]["key"] == "-key"
    assert {row["messages"][0]["content"] for row in seen} == {CHAT[0]["content"]}


def test_whole_answers_have_no_time_to_a_first_text():
    with chat_server() as (port, seen):
        found = load(target(port, stream=False), [CHAT], 1)
    assert found[0].first is None and found[0].completion_tokens == 4
    assert speeds(found)["ttft_s_p50"] is None and speeds(found)["tokens_per_s"] > 0
    assert "stream_options" not in seen[0]


def test_several_processes_ask_every_chat_once():
    chats = [[{"role": "user", "content": f"第{number}次"}] for number in range(40)]
    with chat_server() as (port, seen):
        found = load(target(port), chats, 33)
    assert len(found) == 40
    assert sorted(row["messages"][0]["content"] for row in seen) == sorted(
        chat[0]["content"] for chat in chats
    )


@pytest.mark.parametrize(("text", "words"), [("坏", "400 Bad Request"), ("断", "ended without")])
def test_a_request_that_fails_is_not_counted(text, words):
    with chat_server() as (port, _), pytest.raises(LoadError, match=words):
        load(target(port), [[{"role": "user", "content": text}]], 1)


def test_speeds_are_those_of_the_answers():
    rows = [Answer(10.0, 10.2, 11.0, 100, 5), Answer(10.0, 10.6, 12.0, 100, 15)]
    assert speeds(rows) == {
        "requests": 2, "prompt_tokens": 200, "output_tokens": 20, "tokens_per_s": 10.0,
        "ttft_s_p50": 0.4, "ttft_s_p95": 0.6, "tpot_s_p50": 0.15, "tpot_s_p95": 0.2,
    }  # fmt: skip


def test_every_request_is_asked_once_in_order_and_its_reply_kept_as_it_comes():
    requests = [Request(f"题{n}", CHAT, 3 + n) for n in range(40)]
    kept: dict[str, Reply] = {}
    with chat_server() as (port, seen):
        target = Target(port, "钥匙-1".encode().hex(), {"model": "m"}, False)
        ask_all(requests, target, 1, lambda request, reply: kept.update({request.key: reply}))
    assert [body["max_tokens"] for body in seen] == list(range(3, 43))
    assert list(kept) == [request.key for request in requests]
    assert kept["题5"] == Reply("好", "length", 7, 8)
    assert {body["temperature"] for body in seen} == {0} and seen[0]["repetition_penalty"] == 1.0


def test_the_first_request_that_is_not_answered_ends_it_and_what_came_is_kept():
    bad = [{"role": "user", "content": "坏"}]
    requests = [Request(f"题{n}", bad if n == 5 else CHAT, 3) for n in range(9)]
    kept: list[str] = []
    with chat_server() as (port, seen):
        target = Target(port, "k", {"model": "m"}, False)
        with pytest.raises(NotAnsweredError, match="400 Bad Request") as caught:
            ask_all(requests, target, 1, lambda request, _: kept.append(request.key))
    assert caught.value.request.key == "题5" and caught.value.replies == 5
    assert kept == [f"题{n}" for n in range(5)] and len(seen) == 6


def test_an_error_where_a_reply_is_kept_is_raised_as_it_was():
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "回复.jsonl")

    with chat_server() as (port, _), pytest.raises(OSError, match="No space left"):
        ask_all(
            [Request(f"题{n}", CHAT, 3) for n in range(9)], Target(port, "k", {}, False), 4, full
        )


def test_the_engine_that_answers_one_by_one_gets_two_requests_at_a_time():
    assert in_flight({"engine": "transformers"}, 256) == 2
    assert in_flight({"engine": "transformers"}, 1) == 1
    assert in_flight({"engine": "lmdeploy"}, 256) == 256


@pytest.mark.parametrize(
    ("soft", "hard", "asked", "said"),
    [
        (64, 1024, 700, "may open 956"),
        (64, 1024, 900, "900 requests at a time.*1024 files; set it to 768 at most"),
        (1024, 1024, 512, "may open 1024"),
    ],
)
def test_as_many_connections_as_are_asked_for_may_be_opened_or_it_is_said(soft, hard, asked, said):
    program = (
        "import resource; from mindtune.serve.at_once import make_room\n"
        f"try: make_room({asked})\n"
        "except Exception as error: print(error)\n"
        "print('may open', resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    limits = (
        f"ulimit -Sn {soft}; ulimit -Hn {hard}; exec {sys.executable} -c {shlex.quote(program)}"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["sh", "-c", limits], env=environment, capture_output=True, text=True)
    assert re.search(said, done.stdout), done.stdout + done.stderr


def test_a_server_that_is_gone_is_said():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NotAnsweredError, match="ConnectionRefusedError") as caught:
        ask_all([Request("题", CHAT, 3)], Target(port, "k", {}, False), 4, lambda *_: None)
    assert caught.value.replies == 0


class Keeping(BaseHTTPRequestHandler):
    """Answers chats on connections that it keeps open, and counts these."""

    protocol_version = "HTTP/1.1"
    opened = 0

    def setup(self) -> None:
        Keeping.opened += 1
        super().setup()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        choice = {"message": {"role": "assistant", "content": "好"}, "finish_reason": "stop"}
        content = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_connection_that_was_idle_is_not_used_again():
    """A server closes idle ones, and a request that meets that moment fails."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Keeping) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.server_port}/v1", "k", "m", 10)
        assert client.chat(CHAT, 1) == client.chat(CHAT, 1) == Reply("好", "stop", 7, 1)
        assert Keeping.opened == 1
        time.sleep(1.2)
        client.chat(CHAT, 1)
        assert Keeping.opened == 2
        client.api.close()
        server.shutdown()
