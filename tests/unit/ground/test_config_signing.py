"""Signing keys of the configuration: what goes together, and what excludes each other."""

import pytest
from mindtune.cli import UserError
from mindtune.config import read_schema, resolve
from test_config_judges import BASE

SCHEMA = read_schema()


def export(**keys):
    return resolve(BASE | {"export": {"run": "main", **keys}}, SCHEMA)["export"]


def test_whole_sets_of_keys_pass():
    assert export()["signing_passphrase"] is None
    assert export(signing_key="a.pem", signing_passphrase="./a//b")["signing_passphrase"] == "a/b"
    assert export(signing_key="a.pem", signing_certificate="c.pem")["signing_certificate"]
    assert export(authority="ca.pem", identity="a@example.org", revoked="r.txt")["revoked"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"signing_passphrase": "p"}, "export.signing_key is null"),
        ({"signing_certificate": "c"}, "export.signing_key is null"),
        ({"identity": "a@example.org"}, "export.authority is null"),
        ({"authority": "ca.pem"}, "export.identity is null"),
        (
            {"signing_key": "k", "signing_passphrase": "p", "signing_certificate": "c"},
            "signing_passphrase and export.signing_certificate are both set",
        ),
        (
            {"public_key": "k", "authority": "ca.pem", "identity": "a@example.org"},
            "public_key and export.authority are both set",
        ),
    ],
)
def test_half_sets_and_contradictions_are_refused(keys, words):
    with pytest.raises(UserError, match=words):
        export(**keys)
