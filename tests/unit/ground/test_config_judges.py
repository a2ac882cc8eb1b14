"""Judges of the configuration: one place each, encrypted unless it is this machine."""

import pytest
from mindtune.cli import UserError
from mindtune.config import read_schema, resolve

SCHEMA = read_schema()
BASE = {
    "datasets": {"d": {"source": "local", "path": "x", "licence": "CC0-1.0"}},
    "model": {"source": "package", "id": "tiny", "licence": "cc0-1.0"},
    "runs": {"main": {"dataset": "d"}},
    "export": {"run": "main"},
}
ONE = {"base_url": "https://judge.example/v1", "model": "m"}


def models(**judges):
    return resolve(BASE | {"judge": {"models": judges}}, SCHEMA)["judge"]["models"]


def test_a_judge_is_complete_after_reading():
    assert models(a=ONE)["a"]["max_tokens"] == 512 and models() == {}
    assert models(a={"path": "./models//x", "model": "m"})["a"]["path"] == "models/x"
    assert models(a=ONE | {"base_url": "http://127.0.0.1:8000/v1"})


@pytest.mark.parametrize(
    ("judges", "words"),
    [
        ({"a": {"model": "m"}}, "needs base_url .* or path"),
        ({"a": ONE | {"path": "x"}}, "and not both"),
        ({"a": ONE | {"base_url": "http://judge.example/v1"}}, "pass unencrypted; use https"),
        ({"a": ONE, "b": ONE}, "the same judge as judge.models.a"),
        ({"a": ONE, "b": ONE | {"model": "n"}, "c": ONE | {"model": "o"}}, "judge.models"),
        ({"a": ONE | {"base_url": "https://me:geheim@judge.example/v1"}}, "a.base_url"),
        ({"a": ONE | {"base_url": "https://judge.example/v1?key=geheim"}}, "a.base_url"),
        ({"a": ONE | {"key": "sk-geheim"}}, "a.key is unknown"),
    ],
)
def test_a_mistake_is_named_and_no_secret_is_repeated(judges, words):
    with pytest.raises(UserError, match=words) as error:
        models(**judges)
    assert "geheim" not in str(error.value)
