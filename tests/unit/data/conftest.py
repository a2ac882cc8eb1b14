"""A hub on this machine. And property tests draw the same examples every time, so that a green
commit stays green; HYPOTHESIS_PROFILE=search draws new ones.
"""

import json
import os
import threading
from http.server import ThreadingHTTPServer

import pytest
from cleaning_runs import (
    GOOD,
    sharegpt,
    tokenizer,  # noqa: F401 (a fixture)
    with_text,
)
from hub_server import Hub
from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("search", max_examples=20_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    story = (
        "昨天我又和父母吵架了，他们总说我不够努力，可是我每天都学到半夜，真的很累，"
        "也不知道还能怎么办，"
    )
    long, near = ([("human", story + end), *GOOD[1:]] for end in ("睡不着", "睡不着了"))
    lines = [
        sharegpt(GOOD, id="甲"), sharegpt([*GOOD, ("human", "谢谢")], id="乙"),
            sharegpt(with_text("请<br>听"), id="甲"), '{"conversations": '
'"坏"}',
        sharegpt(long), sharegpt(near), sharegpt([("human", "很长" * 900), ("gpt", "嗯")], id="长"),
            sharegpt([("human", "？"), ("gpt", "嗯\ud83d")]),
    ]  # fmt: skip
    (folder / "一.jsonl").write_text(
        "\n".join(line.replace("\ud83d", "\\ud83d") for line in lines), encoding="utf-8"
    )
    pairs = [
        {
            "conversation": [
                {"system": "你是咨询师", "input": f"问题{number}号，我很烦", "output": "说说看。"}
            ]
        }
        for number in range(3)
    ]
    (folder / "二.json").write_text(
        json.dumps(pairs, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    return folder
