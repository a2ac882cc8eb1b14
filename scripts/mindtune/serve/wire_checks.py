"""Checks of a server's bytes and headers, without the client that everybody uses: it would hide
them.
"""

import http.client
import json
import re
import time

from mindtune.chat_template import Message
from mindtune.serve.checks import Case, Failed, expect, user
from mindtune.serve.engine import Server

# LMDeploy counts a reply's tokens some time after it sent them
METRICS_S = 15


def check_metrics(case: Case) -> str:
    """/metrics counts generated tokens: more after a reply than before, though perhaps not at
    once.
    """
    before = generated_tokens(case.server)
    tokens = case.client.chat(user(case.prompts[0]), case.max_tokens).completion_tokens
    deadline = time.monotonic() + METRICS_S
    while (
        after := generated_tokens(case.server)
    ) < before + tokens and time.monotonic() < deadline:
        time.sleep(0.2)
    return expect(
        after >= before + tokens,
        f"{before:.0f} generated tokens, {after:.0f} after a reply of {tokens}",
    )


def generated_tokens(server: Server) -> float:
    """The counter of generated tokens in the server's metrics, in the text format of Prometheus."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/metrics/", headers={"Authorization": f"Bearer {server.api_key}"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    found = re.findall(r"^\w+:generation_tokens_total(?:\{[^}]*\})? (\S+)$", text, re.M)
    if response.status != 200 or not found:
        raise Failed(
            f"/metrics gives status {response.status} and no generation_tokens_total: "
            f"{text[:100]!r}"
        )
    return float(found[0])


def check_utf8(case: Case) -> str:
    """No streamed piece holds half a character: every event is UTF-8, and the pieces join to the
    whole.
    """
    broken, wide = [], 0
    for prompt in case.prompts:
        whole = case.client.chat(user(prompt), case.max_tokens).text
        joined = "".join(raw_pieces(case.server, user(prompt), case.max_tokens))
        wide += sum(sign > "\x7f" for sign in whole)
        if joined != whole:
            broken.append(f"{joined!r} is not {whole!r}")
    return expect(
        not broken,
        "; ".join(broken)
        or f"{len(case.prompts)} replies whole, {wide} of their characters beyond ASCII",
    )


def raw_pieces(server: Server, messages: list[Message], max_tokens: int) -> list[str]:
    """Pieces of a streamed reply, read from the bytes of its events; bytes that are not UTF-8
    raise Failed.
    """
    body = {
        "model": server.model_name,
        "messages": messages,
        "max_tokens": max_tokens,
        "stream": True,
    }
    body |= {"temperature": 0, "top_p": 1, "top_k": 1, "repetition_penalty": 1.0}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.api_key}"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    texts = []
    with connection.getresponse() as response:
        for line in response.read().split(b"\n"):
            if line.startswith(b"data: {"):
                try:
                    choices = json.loads(line.removeprefix(b"data: ").decode("utf-8"))["choices"]
                except UnicodeDecodeError as error:
                    raise Failed(f"an event is not UTF-8: {error}") from error
                texts += [choice["delta"].get("content") or "" for choice in choices]
    connection.close()
    return texts


def check_wrong_key(case: Case) -> str:
    """A wrong key and no key are refused with 401, for the model list and for a chat."""
    seen = []
    for key in ("wrong", ""):
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
            connection = http.client.HTTPConnection("127.0.0.1", case.server.port, timeout=60)
            body = json.dumps(
                {
                    "model": case.server.model_name,
                    "messages": user("你好"),
                    "temperature": 0,
                    "max_tokens": 1,
                }
            )
            headers = {"Content-Type": "application/json"} | (
                {"Authorization": f"Bearer {key}"} if key else {}
            )
            connection.request(method, path, body if method == "POST" else None, headers)
            seen.append(connection.getresponse().status)
            connection.close()
    return expect(set(seen) == {401}, f"statuses {seen}")
