"""LMDeploy as we start it: its command, its guards, and its own parser."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engines import GPU_ENGINE, ROOT
from mindtune.cli import UserError
from mindtune.serve import engine as engines
from mindtune.serve import server_process
from mindtune.serve.engine_settings import lmdeploy_command
from mindtune.serve.guards import proof
from mindtune.serve.server_process import port_open


def test_lmdeploy_command_is_the_documented_one():
    command = lmdeploy_command(Path("results/export"), GPU_ENGINE, 23333)
    assert command[:2] == ["/env/bin/python", "-P"] and command[2].endswith(
        "mindtune/serve/lmdeploy_server.py"
    )
    assert " ".join(command[3:]) == (
        "serve api_server results/export --model-name qwen2.5-7b-sft --backend pytorch --tp 1 "
        "--session-len 1024 "
        "--cache-max-entry-count 0.8 --server-name 127.0.0.1 --server-port 23333 --log-level INFO "
        "--disable-fastapi-docs"
    )


@pytest.fixture(scope="module")
def lmdeploy_folder(tmp_path_factory) -> Path:
    """LMDeploy as locked in envs/serve.lock, with what its parser imports and this environment
    lacks; no CUDA.
    """
    folder = tmp_path_factory.mktemp("lmdeploy")
    lock = (ROOT / "envs/serve.lock").read_text(encoding="utf-8")
    names = ("lmdeploy", "mmengine-lite", "yapf", "termcolor", "pybase64", "shortuuid")
    (folder / "requirements.txt").write_text(
        "".join(re.search(rf"^{n}==(?:.+\\\n)*.+\n", lock, re.M)[0] for n in names)
    )
    uv = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
    install = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        sys.executable,
        "--target",
        folder / "packages",
    ]
    subprocess.run([*install, "--requirement", folder / "requirements.txt"], check=True)
    return folder / "packages"


PARSE = """
import json, sys, types
# The package itself imports the engines; its command line needs only the folder
package = types.ModuleType("lmdeploy")
package.__path__ = [sys.argv[1] + "/lmdeploy"]
sys.modules["lmdeploy"] = package
from lmdeploy.cli.cli import CLI
from lmdeploy.cli.serve import SubCliServe
from mindtune.serve.lmdeploy_server import no_remote_code
no_remote_code()
SubCliServe.add_parsers()
parsed = vars(CLI.parser.parse_args(json.loads(sys.argv[2])))
print(json.dumps({name: value for name, value in parsed.items() if name != "run"}))
"""


def test_lmdeploys_flag_to_run_a_folder_s_code_is_gone(lmdeploy_folder):
    arguments = [*lmdeploy_command(Path("/x"), GPU_ENGINE, 23333)[3:], "--trust-remote-code"]
    paths = os.pathsep.join([str(lmdeploy_folder), str(ROOT / "scripts")])
    done = subprocess.run(
        [sys.executable, "-c", PARSE, lmdeploy_folder, json.dumps(arguments)], env={**os.environ,
            "PYTHONPATH": paths},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "unrecognized arguments: --trust-remote-code" in done.stderr, (
        done.stderr[-1000:]
    )


@pytest.mark.parametrize("backend", ["pytorch", "turbomind"])
def test_lmdeploys_own_parser_accepts_the_command(lmdeploy_folder, backend):
    arguments = lmdeploy_command(Path("/x/导出"), {**GPU_ENGINE, "backend": backend}, 23333)[3:]
    # What lmdeploy_server.py adds once the process runs
    arguments += ["--api-keys", "secret"]
    out = subprocess.run(
        [sys.executable, "-c", PARSE, lmdeploy_folder, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(lmdeploy_folder),
            str(ROOT / "scripts")])}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    parsed = json.loads(out.stdout.splitlines()[-1])
    expected = {
        "command": "serve", "model_path": "/x/导出", "model_name": "qwen2.5-7b-sft",
        "backend": backend, "tp": 1, "session_len": 1024,
        "cache_max_entry_count": 0.8, "server_name": "127.0.0.1", "server_port": 23333,
        "api_keys": ["secret"], "trust_remote_code": False,
        "log_level": "INFO", "disable_fastapi_docs": True,
    }  # fmt: skip
    assert {name: parsed[name] for name in expected} == expected


def test_lmdeploy_logs_what_clients_say_below_the_level_of_our_command(lmdeploy_folder):
    """INFO tells the size of the KV cache; what is said would be logged one level below it."""
    import logging

    text = (lmdeploy_folder / "lmdeploy/utils.py").read_text(encoding="utf-8")
    level = re.search(r"^REQUEST_LOG_LEVEL = (.+)$", text, re.M)[1]
    assert eval(level, {"logging": logging}) < logging.INFO
    said = (lmdeploy_folder / "lmdeploy/logger.py").read_text(encoding="utf-8")
    assert said.count("logger.log(REQUEST_LOG_LEVEL") == 3 and "logger.info" not in said


GUARDED = """
import socket, sys, uvicorn
from fastapi import FastAPI, Request
from mindtune.serve import lmdeploy_server
app = FastAPI()
@app.post("/v1/chat/completions")
async def chat(request: Request):
    return {"bytes": len(await request.body())}
lmdeploy_server.guard("a-key-of-the-test", 512)
print(sys.argv[1], flush=True)
uvicorn.run(app=app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


def test_lmdeploy_serves_behind_our_guards(lmdeploy_folder):
    """Its application goes to uvicorn.run, which is where they are put before it."""
    text = (lmdeploy_folder / "lmdeploy/serve/openai/api_server.py").read_text(encoding="utf-8")
    assert text.count("uvicorn.run(app=app,") == 1 and "import uvicorn" in text
    port = server_process.free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    server = subprocess.Popen([sys.executable, "-c", GUARDED, str(port)], env=env)
    try:
        deadline = time.monotonic() + 60
        while not port_open(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        nonce, answers = "ab" * 32, []
        for method, path, size, key in (
            ("GET", f"/proof?nonce={nonce}", 0, ""),
            ("POST", "/v1/chat/completions", 7, "a-key-of-the-test"),
            ("POST", "/v1/chat/completions", 7, "wrong"),
            ("GET", "/metrics", 0, ""),
            ("POST", "/v1/chat/completions", 2_000_000, "a-key-of-the-test"),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request(method, path, b"x" * size, {"Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            answers.append((response.status, json.loads(response.read())))
            connection.close()
        assert [status for status, _ in answers] == [200, 200, 401, 401, 413]
        assert answers[0][1] == {"proof": proof("a-key-of-the-test", port, nonce)}
        assert answers[1][1] == {"bytes": 7}
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_turbomind_that_fell_back_to_pytorch_is_refused(tmp_path):
    log = tmp_path / "server.log"
    log.write_text(
        "lmdeploy - WARNING - archs.py:40 - Fallback to pytorch engine because turbomind is not "
        "built.\n"
    )
    engines.check_backend(GPU_ENGINE, log)
    with pytest.raises(UserError, match="cannot load TurboMind.*turbomind is not built"):
        engines.check_backend({**GPU_ENGINE, "backend": "turbomind"}, log)
    log.write_text("[TM][INFO] turbomind engine config\n")
    engines.check_backend({**GPU_ENGINE, "backend": "turbomind"}, log)
