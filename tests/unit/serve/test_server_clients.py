"""Clients of the server for a CPU: the health check, the terminal, and those that leave."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import yaml
from engines import ROOT
from health_check import plain
from mindtune.serve import server_process
from test_transformers_server import (
    CHAT,
)


def test_many_at_once_are_all_answered_as_one_by_one(server):
    chats = [[{"role": "user", "content": f"第{number}次失眠"}] for number in range(24)]
    client = server.client()
    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda chat: client.chat(chat, 8), chats))
    assert together == [client.chat(chat, 8) for chat in chats]


def test_a_client_that_hangs_up_is_not_answered_to_the_end(server):
    client = server.client()
    start = time.monotonic()
    tokens = client.chat(CHAT, 900).completion_tokens
    whole = time.monotonic() - start
    for _ in range(3):
        chunks = client.chunks(CHAT, 900)
        next(chunks)
        chunks.close()
    start = time.monotonic()
    client.chat(CHAT, 1)
    assert tokens == 900 and time.monotonic() - start < whole, (
        "three replies that nobody reads kept the server busy"
    )


def test_the_health_check_is_a_completed_chat(server, tmp_path):
    key = tmp_path / "key"
    key.write_text(server.api_key)
    words = [
        sys.executable,
        "-I",
        "-S",
        ROOT / "scripts/deploy/health_check.py",
        "--port",
        str(server.port),
        "--key-file",
        key,
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("answers, in ")
    key.write_text("wrong")
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and "does not prove that it knows" in done.stderr
    words[words.index("--port") + 1] = str(server_process.free_port())
    start = time.monotonic()
    done = subprocess.run([*words, "--wait", "1.5"], capture_output=True, text=True)
    assert (
        done.returncode == 1 and "does not answer" in done.stderr and time.monotonic() - start > 1.5
    )


def test_a_chat_in_the_terminal_keeps_its_history(server, tmp_path):
    (tmp_path / "key").write_text(server.api_key)
    words = [
        sys.executable,
        ROOT / "scripts/deploy/chat.py",
        "--port",
        str(server.port),
        "--key-file",
        tmp_path / "key",
    ]
    typed = "我失眠\n\n很累\n/new\n我失眠\n"
    done = subprocess.run(
        [*words, "--max-tokens", "20"],
        input=typed,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("\n> ")
    client = server.client()
    first = [{"role": "user", "content": "我失眠"}]
    answer = client.chat(first, 20).text
    second = [*first, {"role": "assistant", "content": answer}, {"role": "user", "content": "很累"}]
    wanted = [answer, "", client.chat(second, 20).text, "", answer]
    # random weights say control characters too, which no terminal gets
    wanted = [plain(text) for text in wanted]
    assert [text.rstrip("\n") for text in said[1:6]] == [text.rstrip("\n") for text in wanted]
    lines = yaml.safe_load((ROOT / "config/hotlines.yaml").read_text(encoding="utf-8"))["hotlines"]
    numbers = re.findall(r"\d{3,}", said[0])
    assert "不是心理医生" in said[0] and numbers
    assert set(numbers) <= {line["number"] for line in lines if line["status"] == "verified"}
