"""The server for a CPU: replies, streams, keys, refusals, and clients that leave."""

import http.client
import json
import random
from pathlib import Path

import pytest
from engines import ENGINE
from mindtune.serve.chat_requests import Refused, read_request
from mindtune.serve.decoder import pieces, settled
from mindtune.serve.engine import Server, serve
from mindtune.serve.server_process import group_members, port_open
from models import copy_with_end

CHAT = [{"role": "user", "content": "我最近总是失眠，怎么办？🙂"}]


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
