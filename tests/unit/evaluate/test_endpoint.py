"""An endpoint that plays a simulated client: its key, its patience, and its misbehaviour."""

import json

import pytest
from mindtune.cli import UserError
from mindtune.evaluate.endpoint import Endpoint, read_key
from recording_server import completion, recording_server

SPEC = {"kind": "endpoint", "model": "m", "key_file": None, "path": None}
KEY = "sk-planted-7f3a91c2"


BROKEN = {
    "a wrong key": (401, b'{"error": {"message": "Incorrect API key: ' + KEY.encode() + b'"}}'),
    "prose": (200, b"I am not JSON"),
    "torn JSON": (200, completion("words")[:40]),
    "no choices": (200, b'{"choices": []}'),
    "another shape": (200, b'[1, 2]'),
    "not found": (404, b'{"error": {"message": "no such model"}}'),
}  # fmt: skip


@pytest.mark.parametrize(("status", "content"), BROKEN.values(), ids=BROKEN)
def test_an_endpoint_that_misbehaves_is_a_sentence_without_the_key(tmp_path, status, content):
    key = tmp_path / "key"
    key.write_text(KEY + "\n", encoding="utf-8")
    key.chmod(0o600)
    with recording_server(lambda number, body: (status, content)) as server:
        ask = Endpoint(SPEC | {"base_url": server.address, "key_file": str(key)}, 42)
        with pytest.raises(UserError, match="did not answer") as error:
            ask([{"role": "user", "content": "a"}], 8)
    assert KEY not in str(error.value) and error.value.__cause__ is None
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert json.loads(server.bodies[0])["seed"] == 42


def test_an_endpoint_that_is_busy_is_asked_again():
    def answer(number, body):
        return (429, b"{}") if number < 3 else (200, completion("words"))

    with recording_server(answer) as server:
        assert Endpoint(SPEC | {"base_url": server.address}, 1)([], 8) == {"text": "words"}
    assert len(server.bodies) == 4


def test_a_key_is_for_its_owner_alone(tmp_path):
    with pytest.raises(UserError, match="key_file is .*, which is not there"):
        read_key(str(tmp_path / "none"))
    path = tmp_path / "key"
    path.write_text(KEY, encoding="utf-8")
    path.chmod(0o644)
    with pytest.raises(UserError, match="can be read by others"):
        read_key(str(path))
    assert read_key(None) == "none"
