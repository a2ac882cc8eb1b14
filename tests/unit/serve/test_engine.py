"""The engine interface with a real server on a real (random, tiny) model: its answers, its
refusals, and its end.
"""

import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from health_check import plain
from mindtune.cli import UserError
from mindtune.serve import engine as engines
from mindtune.serve import server_process
from mindtune.serve.chat_requests import Refused, read_request
from mindtune.serve.decoder import pieces, settled
from mindtune.serve.engine import Server, serve
from mindtune.serve.engine_settings import check_engine, lmdeploy_command
from mindtune.serve.guards import proof
from mindtune.serve.kv_cache import bytes_per_token, kv_budget, reported_tokens
from mindtune.serve.server_process import group_members, port_open
from models import build_small_model, copy_with_end

ROOT = Path(__file__).resolve().parents[3]
ENGINE = {
    "engine": "transformers",
    "python": sys.executable,
    "backend": "pytorch",
    "model_name": "咨询师-demo",
    "tp": 1,
    "session_len": 1024,
    "cache_max_entry_count": 0.8,
    "device": "cpu",
    "threads": 1,
    "startup_timeout_s": 120,
}
GPU_ENGINE = {
    **ENGINE,
    "engine": "lmdeploy",
    "device": "gpu",
    "python": "/env/bin/python",
    "model_name": "qwen2.5-7b-sft",
}
CHAT = [{"role": "user", "content": "我最近总是失眠，怎么办？🙂"}]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return build_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    with serve(model, ENGINE, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


def greedy(model: Path, messages: list[dict[str, str]] | str, max_tokens: int) -> list[int]:
    """New token ids from transformers' own greedy search, without the model's sampling defaults."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(model)
    text = messages
    if not isinstance(messages, str):
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    network.generation_config = GenerationConfig(eos_token_id=[-1], pad_token_id=0)
    out = network.generate(**prompt, do_sample=False, max_new_tokens=max_tokens)
    return out[0, prompt["input_ids"].shape[1] :].tolist()


def post(server: Server, body: object, key: str | None = None) -> tuple[int, dict]:
    """Status and body of a chat request sent by hand."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Bearer {server.api_key if key is None else key}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


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


# The KV cache

QWEN_7B = {
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "dtype": "bfloat16",
}


def test_bytes_of_a_token_in_the_cache():
    assert bytes_per_token(QWEN_7B) == 2 * 28 * 4 * 128 * 2 == 57_344
    assert bytes_per_token({**QWEN_7B, "head_dim": 256}) == 2 * 57_344
    assert bytes_per_token({**QWEN_7B, "dtype": "float32"}) == 2 * 57_344


def test_the_budget_is_a_share_of_what_the_weights_leave(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    (tmp_path / "model.safetensors").write_bytes(b"")
    os.truncate(tmp_path / "model.safetensors", 15_231_271_776)
    # an H100's memory as nvidia-smi gives it; LMDeploy's PyTorch engine reported 918,528 tokens
    # there
    budget = kv_budget(tmp_path, {**GPU_ENGINE, "session_len": 4096}, [(81_559 * 2**20, 0)])
    assert (budget["budget_tokens"], budget["budget_sessions"]) == (980_601, 239)
    assert budget["bytes_per_session"] == 4096 * 57_344
    two = kv_budget(tmp_path, {**GPU_ENGINE, "tp": 2}, [(81_559 * 2**20, 0)] * 4)
    assert two["card_bytes"] == 2 * budget["card_bytes"]
    small = kv_budget(tmp_path, GPU_ENGINE, [(12 * 2**30, 0)])
    assert small["budget_tokens"] == 0
    assert "budget_tokens" not in kv_budget(tmp_path, GPU_ENGINE, [])


def test_what_lmdeploy_reports_is_read_from_its_log(tmp_path):
    log = tmp_path / "server.log"
    log.write_text(
        "Building CacheEngine with config: \nCacheConfig(max_batches=1024, block_size=64, "
        "num_cpu_blocks=0, num_gpu_blocks=14352, kernel_block_size=64)\n"
    )
    assert reported_tokens(log) == 918_528
    log.write_text("[TM][INFO] nothing of blocks\n")
    assert reported_tokens(log) is None


# Pure parts of the transformers server


def decode_bytes(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


def test_pieces_never_hold_half_a_character():
    text = "睡不着🙂很累é。"
    ids: list[int] = []
    found = list(pieces(iter(text.encode()), decode_bytes, ids))
    assert found == list(text) and bytes(ids).decode() == text


def test_pieces_join_to_the_whole_for_any_bytes():
    draw = random.Random(5)
    for _ in range(500):
        data = [
            draw.choice([*"眠🙂a".encode(), draw.randrange(256)]) for _ in range(draw.randrange(40))
        ]
        assert "".join(pieces(iter(data), decode_bytes, [])) == decode_bytes(data)


def test_settled_keeps_a_broken_character_that_others_follow():
    assert settled("好\ufffd的\ufffd\ufffd") == "好\ufffd的"


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"temperature": 0.7}, 400, "temperature is 0.7.*greedily only"),
        ({"temperature": None}, 400, "temperature is None"),
        ({"repetition_penalty": 1.05}, 400, "repetition_penalty"),
        ({"max_tokens": 0}, 400, "max_tokens is 0"),
        ({"max_tokens": True}, 400, "max_tokens is True"),
        ({"stop": ["。"]}, 400, "unknown field 'stop'"),
        ({"model": "其他"}, 404, "no model '其他'"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": [{"role": "counsellor", "content": "好"}]}, 400, "role"),
        ({"messages": [{"role": "user", "content": ["好"]}]}, 400, "text as content"),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, 400, "surrogate"),
    ],
)
def test_a_request_that_would_not_be_followed_is_refused(change, status, words):
    with pytest.raises(Refused, match=words) as refused:
        read_request({"model": "咨询师", "messages": CHAT, "temperature": 0, **change}, "咨询师")
    assert refused.value.status == status


# The running server


def test_a_reply_is_transformers_greedy_reply(server, model):
    from transformers import AutoTokenizer

    ids = greedy(model, CHAT, 40)
    reply = server.client().chat(CHAT, 40)
    assert reply.text == AutoTokenizer.from_pretrained(model).decode(ids, skip_special_tokens=True)
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 40)


def test_a_last_turn_of_the_assistant_is_gone_on_with(server, model):
    from transformers import AutoTokenizer

    begun = "听起来你很累，"
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True) + begun
    reply = server.client().chat([*CHAT, {"role": "assistant", "content": begun}], 20)
    assert reply.prompt_tokens == len(tokenizer(prompt)["input_ids"])
    assert reply.text == tokenizer.decode(greedy(model, prompt, 20), skip_special_tokens=True)


@pytest.mark.parametrize("text", ["我最近总是失眠", "Ich schlafe schlecht 🙂", "眠"])
def test_a_stream_is_the_whole_reply(server, text):
    messages = [
        {"role": "system", "content": "你是心理咨询师。"},
        {"role": "user", "content": text},
    ]
    streamed = server.client().stream(messages, 60)
    assert streamed.reply == server.client().chat(messages, 60)
    assert len(streamed.pieces) > 5


def test_the_prompt_is_rendered_by_the_chat_template(server, model):
    from mindtune.chat_template import load_chat

    chat = load_chat(model)
    history = [
        *CHAT,
        {"role": "assistant", "content": "我在听。"},
        {"role": "user", "content": "谢谢"},
    ]
    for messages in (CHAT, [{"role": "system", "content": "简短回答"}, *CHAT], history):
        assert (
            server.client().chat(messages, 1).prompt_tokens
            == chat.count([chat.render(messages, True)])[0]
        )


def test_the_key_is_needed_everywhere_but_for_health(server):
    asked = {"model": server.model_name, "messages": CHAT, "temperature": 0, "max_tokens": 1}
    assert post(server, asked)[0] == 200
    for key in ("", "wrong", server.api_key + "x", server.api_key.lower()):
        status, body = post(server, asked, key)
        assert status == 401 and "API key" in body["error"]["message"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    statuses = {}
    for path in ("/health", "/v1/models", "/docs", "/openapi.json"):
        connection.request("GET", path)
        response = connection.getresponse()
        statuses[path] = response.status
        response.read()
    assert statuses == {"/health": 200, "/v1/models": 401, "/docs": 401, "/openapi.json": 401}


def test_the_key_is_in_no_command_line_and_no_log(server, model):
    members = group_members(server.group)
    assert len(members) >= 2
    for pid in members:
        for name in ("cmdline", "environ"):
            assert server.api_key.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert server.api_key not in repr(server)


def test_refusals_reach_the_client_and_the_server_goes_on(server):
    base = {"model": server.model_name, "messages": CHAT, "temperature": 0, "max_tokens": 2}
    long = {**base, "messages": [{"role": "user", "content": "失眠" * 1024}]}
    status, body = post(server, long)
    assert (
        status == 400
        and body["error"]["code"] == "context_length_exceeded"
        and "1024" in body["error"]["message"]
    )
    assert post(server, {**base, "temperature": 1})[0] == 400
    assert post(server, {**base, "model": "其他"})[0] == 404
    assert post(server, ["没有"])[0] == 400
    assert post(server, base)[0] == 200


def test_a_reply_ends_where_the_session_does(server):
    prompt = [{"role": "user", "content": "睡" * 900}]
    reply = server.client().chat(prompt, 1000)
    assert reply.finish_reason == "length" and reply.prompt_tokens + reply.completion_tokens == 1024


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


# People and units


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


# Start and end


def test_an_end_token_ends_the_reply_and_an_error_in_the_block_ends_the_server(model, tmp_path):
    ids = greedy(model, CHAT, 30)
    end = next(token for place, token in enumerate(ids) if place >= 5 and token not in ids[:place])
    other = copy_with_end(model, tmp_path / "other", [end])
    with pytest.raises(ZeroDivisionError), serve(other, ENGINE, tmp_path / "server.log") as server:
        whole = server.client().chat(CHAT, 100)
        assert (whole.finish_reason, whole.completion_tokens) == ("stop", ids.index(end))
        assert server.client().stream(CHAT, 100).reply == whole
        raise ZeroDivisionError
    assert not group_members(server.group) and not port_open(server.port)
    assert "失眠" not in (tmp_path / "server.log").read_text(encoding="utf-8")


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
