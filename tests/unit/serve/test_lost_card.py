"""A card that fails while people are answered, and a log that takes no more: every request ends
with an error, nobody waits for ever, and the health check sees it.
"""

import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engines import ROOT, SHORT_ENGINE
from mindtune.serve.engine import serve
from models import build_small_model

CHAT = [{"role": "user", "content": "我最近总是失眠，白天很累"}]
BLOCKS = 8  # of 512 bytes: what the log may hold
# The server of the project; a double stands in for the card, which fails while a file is there
SERVER = """
import sys
from pathlib import Path

sys.path.append({scripts!r})
from mindtune.serve import decoder, transformers_server

whole = decoder.Decoder.tokens

def tokens(self, job):
    for token in whole(self, job):
        if Path({lost!r}).exists():
            raise RuntimeError("CUDA error: a double of a card that fell off the bus" + "." * 400)
        yield token

decoder.Decoder.tokens = tokens
transformers_server.main()
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(server, the file that makes its card fail, its log); its log cannot grow beyond 4 kB."""
    folder = tmp_path_factory.mktemp("掉卡")
    lost, program, python = folder / "lost", folder / "server.py", folder / "python"
    program.write_text(SERVER.format(scripts=str(ROOT / "scripts"), lost=str(lost)))
    words = shlex.join([sys.executable, "-P", str(program)])
    python.write_text(f'#!/bin/sh\nshift 2\nulimit -f {BLOCKS}\nexec {words} "$@"\n')
    python.chmod(0o755)
    model, log = build_small_model(folder / "model"), folder / "server.log"
    with serve(model, {**SHORT_ENGINE, "python": str(python)}, log) as running:
        yield running, lost, log


def reason(server) -> str:
    """Why a chat failed; empty if it did not."""
    from openai import APIStatusError

    try:
        server.client(timeout=120).chat(CHAT, max_tokens=8)
        return ""
    except APIStatusError as error:
        return f"{error.status_code} {error.message}"


def streamed(server, after_first) -> list[dict]:
    """The events of a long streamed chat; `after_first` is called once something was said."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    body = {"model": "demo", "messages": CHAT, "temperature": 0, "max_tokens": 300, "stream": True}
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    found = []
    for line in connection.getresponse():
        if line.startswith(b"data: {"):
            found.append(json.loads(line[6:]))
            if len(found) == 2:
                after_first()
    connection.close()
    assert line.strip() == b"" or line.startswith(b"data: [DONE]")
    return found


def test_a_card_that_falls_off_ends_every_request_with_an_error(served, tmp_path):
    server, lost, log = served
    assert reason(server) == ""
    events = streamed(server, lost.touch)
    assert len(events) < 100 and "decoding failed" in json.dumps(events[-1])
    with ThreadPoolExecutor(8) as clients:
        reasons = list(clients.map(reason, [server] * 24))
    assert all(said.startswith("500") and "decoding failed" in said for said in reasons), reasons
    # 24 failures of 450 characters do not fit, and the server goes on
    assert 0 < log.stat().st_size <= BLOCKS * 1024
    key = tmp_path / "key"
    key.write_text(server.api_key, encoding="ascii")
    program = [sys.executable, ROOT / "scripts/deploy/health_check.py"]
    check = [*program, "--port", str(server.port), "--key-file", key]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "status 500" in done.stdout + done.stderr
    Path(lost).unlink()
    assert reason(server) == ""
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
