"""What people type through make against a server that is hostile, or another than they think: no
escape reaches the terminal, no key reaches a stranger, and nothing is read without an end.
"""

import json
import re
import resource
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from health_check import Refused, connect, parse, plain, proof

ROOT = Path(__file__).resolve().parents[3]
KEY = "a-key-of-the-test-7f3a91c2"
ESCAPES = "\x1b]0;title\x07\x1b[2J\x1b]52;c;cm0gLXJm\x07\x9b31m\x08\x7f\r"
MODELS = {"data": [{"id": "demo"}]}


def event(text: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


def answer(client: socket.socket, content: bytes, status: str = "200 OK") -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n"
    client.sendall(head.encode() + content)


@contextmanager
def impostor(answers: dict[str, bytes], key: str | None = KEY, status: str = "200 OK"):
    """A server that answers paths as given, and proves to know a key; yields its port and all that
    was said to it.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    port, heard = listener.getsockname()[1], []

    def talk(client: socket.socket) -> None:
        with client, client.makefile("rb") as reader, suppress(ConnectionError):
            while line := reader.readline():
                path, length = line.split()[1].decode(), 0
                while (header := reader.readline()).strip():
                    heard.append(header)
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                heard.append(reader.read(length))
                if path.startswith("/proof"):
                    said = proof(key, port, path.partition("=")[2]) if key else "0" * 64
                    answer(client, json.dumps({"proof": said}).encode())
                else:
                    answer(client, answers[path], status)

    def take() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    threading.Thread(target=take, daemon=True).start()
    try:
        yield port, heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def key_file(tmp_path) -> Path:
    (tmp_path / "key").write_text(KEY + "\n", encoding="ascii")
    return tmp_path / "key"


def run(name: str, port: int, key_file: Path, typed: str = "我失眠\n", limit: int = 1 << 30):
    """A program of scripts/deploy/ with a limit of memory."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts/deploy" / name, "--port", str(port), "--key-file",
            key_file],
        input=typed, capture_output=True, text=True, encoding="utf-8", timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip


def controls(text: str) -> list[str]:
    return [
        sign for sign in text if (sign < " " and sign not in "\n\t") or "\x7f" <= sign <= "\x9f"
    ]


def test_a_reply_moves_no_cursor_and_writes_no_clipboard(key_file):
    stream = event("好" + ESCAPES) + event("\x1b") + event("[31m红\n\t") + b"data: [DONE]\n\n"
    answers = {"/v1/models": json.dumps(MODELS).encode(), "/v1/chat/completions": stream}
    with impostor(answers) as (port, _):
        done = run("chat.py", port, key_file)
    assert done.returncode == 0 and "好]0;title[2J]52;c;cm0gLXJm31m[31m红\n\t" in done.stdout
    assert not controls(done.stdout + done.stderr)


@pytest.mark.parametrize("name", ["chat.py", "health_check.py"])
def test_an_error_s_text_is_plain_too(key_file, name):
    answers = {"/v1/models": ESCAPES.encode() + b"\nOK: answers"}
    for status in ("403 Forbidden", "200 OK"):
        with impostor(answers, status=status) as (port, _):
            done = run(name, port, key_file)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert not controls(done.stdout + done.stderr) and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["chat.py", "health_check.py"])
def test_the_key_is_not_sent_to_whoever_holds_the_port(key_file, name):
    with impostor({}, key=None) as (port, heard):
        done = run(name, port, key_file)
    assert done.returncode == 1 and "does not prove that it knows the key" in done.stderr
    assert heard and KEY.encode() not in b"".join(heard)
    # nor to one that only knows of it what another server answered
    with impostor({}, key="another-key-of-16") as (port, heard):
        assert run(name, port, key_file).returncode == 1
    assert KEY.encode() not in b"".join(heard)


def test_a_question_passed_on_to_the_real_server_is_answered_for_another_port(key_file):
    with impostor({}) as (real, _):
        listener = socket.create_server(("127.0.0.1", 0))

        def relay() -> None:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", real)) as server:
                server.sendall(client.recv(65536))
                client.sendall(server.recv(65536))

        threading.Thread(target=relay, daemon=True).start()
        with pytest.raises(Refused, match="does not prove"):
            connect(listener.getsockname()[1], KEY)
        listener.close()


def test_what_follows_the_proof_goes_to_no_new_connection(key_file):
    with impostor({}) as (port, heard):
        connection = connect(port, KEY)
        connection.close()
        with pytest.raises(Exception, match="^$"):
            connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    assert KEY.encode() not in b"".join(heard)


@pytest.mark.parametrize("name", ["chat.py", "health_check.py"])
@pytest.mark.parametrize(
    "models",
    [b"", b"[]", b"null", b"{}", b'{"data": []}', b'{"data": [{"id": 7}]}', b'{"data": {"a": 1}}',
     b"[" * 100_000, b"\xff\xfe"],
)  # fmt: skip
def test_json_that_is_another_is_a_sentence(key_file, name, models):
    with impostor({"/v1/models": models}) as (port, _):
        done = run(name, port, key_file)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1 and re.search("JSON object|no name in it", done.stderr)


@pytest.mark.parametrize(
    "said",
    [
        b"data: {}\n",
        b'data: {"choices": 7}\n',
        b'data: {"choices": [{}]}\n',
        b"data: {x\n",
        event(7),
    ],
)
def test_an_event_that_is_another_ends_the_turn_and_not_the_chat(key_file, said):
    answers = {"/v1/models": json.dumps(MODELS).encode(), "/v1/chat/completions": said}
    with impostor(answers) as (port, _):
        done = run("chat.py", port, key_file, typed="我失眠\n在吗\n")
    assert done.returncode == 0 and done.stdout.count("[an event is not what a chat server") == 2


def test_a_line_without_an_end_takes_no_memory(key_file):
    answers = {
        "/v1/models": json.dumps(MODELS).encode(),
        "/v1/chat/completions": b"a" * 100_000_000,
    }
    with impostor(answers) as (port, _):
        done = run("chat.py", port, key_file, limit=200 << 20)
    assert done.returncode == 0 and "longer than any" in done.stdout, done.stderr
    with impostor({"/v1/models": b"a" * 100_000_000}) as (port, _):
        done = run("health_check.py", port, key_file, limit=200 << 20)
    assert done.returncode == 1 and "is longer than" in done.stderr


def test_plain_text_keeps_line_breaks_tabs_and_characters():
    assert plain("好\n\t🙂é\u2028" + ESCAPES) == "好\n\t🙂é\u2028]0;title[2J]52;c;cm0gLXJm31m"
    with pytest.raises(Refused, match="no JSON object"):
        parse(b"7")


def test_a_text_shows_in_the_order_in_which_it_stands():
    turned = "电话 \u202e321\u202c \u2067cba\u2069 \u200e\u200f\u061c完"
    assert plain(turned) == "电话 321 cba 完"
    assert plain("一 🙂\u200d♀️\tמ\n") == "一 🙂\u200d♀️\tמ\n"
