"""Signing keys of the configuration: what goes together, and what excludes each other."""

import pytest
from mindtune.cli import UserError
from mindtune.config import read_schema, resolve
from mindtune.config_signing import token_module
from test_config_judges import BASE

SCHEMA = read_schema()
TOKEN = "pkcs11:token=lab;object=author?module-path=/usr/lib/m%20odule.so"


def export(**keys):
    return resolve(BASE | {"export": {"run": "main", **keys}}, SCHEMA)["export"]


def test_whole_sets_of_keys_pass():
    assert export()["signing_passphrase"] is None
    assert export(signing_key="a.pem", signing_passphrase="./a//b")["signing_passphrase"] == "a/b"
    assert export(signing_key="a.pem", signing_certificate="c.pem")["signing_certificate"]
    assert export(signing_login="ambient")["signing_login"] == "ambient"
    assert export(issuer="https://a.org", identity="a", sigstore="./t.json")["sigstore"] == "t.json"
    assert export(authority="ca.pem", identity="a@example.org", revoked="r.txt")["revoked"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"signing_passphrase": "p"}, "export.signing_key and export.signing_token are null"),
        ({"signing_certificate": "c"}, "export.signing_key and export.signing_token are null"),
        ({"signing_key": "k", "signing_token": TOKEN}, "signing_token are both set"),
        ({"identity": "a@example.org"}, "export.authority and export.issuer are null"),
        ({"issuer": "https://a.org"}, "export.identity is null"),
        ({"sigstore": "t.json"}, "export.signing_login and export.issuer are null"),
        ({"signing_login": "ambient", "signing_certificate": "c"}, "signing_token are null"),
        ({"signing_login": "ambient", "signing_key": "k"}, "signing_login are both set"),
        ({"signing_login": "a", "signing_token": TOKEN}, "signing_login are both set"),
        ({"issuer": "https://a.org", "identity": "a", "public_key": "k"}, "issuer are both set"),
        ({"issuer": "https://a.org", "identity": "a", "authority": "k"}, "issuer are both set"),
        ({"issuer": "http://a.org", "identity": "a"}, "by its https address"),
        ({"issuer": "https://a.org/ b", "identity": "a"}, "by its https address"),
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


def test_a_token_may_have_a_pin_and_a_certificate():
    found = export(signing_token=TOKEN, signing_passphrase="pin", signing_certificate="c.pem")
    assert token_module(found["signing_token"]) == "/usr/lib/m odule.so"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("pkcs12:token=a", "signing_token"),
        ("pkcs11:", "signing_token"),
        ("pkcs11:token=锁;object=a?module-path=/m", "signing_token"),
        (TOKEN.replace("token=lab;", ""), "has no token and no slot-id"),
        (TOKEN.replace("object=author", "type=private"), "has no object and no id"),
        (TOKEN.partition("?")[0], "has no module-path"),
        (TOKEN.replace("=/usr", "=usr"), "does not start with /"),
        (TOKEN.replace("object=author", "object"), "is no name=value"),
        (TOKEN.replace("object=author", "object="), "is no name=value"),
        (TOKEN.replace(";", ";token=b;"), "stands twice"),
    ],
)
def test_a_token_that_names_no_key_is_refused(uri, words):
    with pytest.raises(UserError, match=words):
        export(signing_token=uri)


@pytest.mark.parametrize("name", ["pin-value=4711", "pin-source=file:/home/a/4711"])
@pytest.mark.parametrize(
    "place", ["{uri}&{pin}", "pkcs11:{pin};token=a?module-path=/m", "x: 锁 {pin}"]
)
def test_a_pin_stands_in_no_configuration_and_in_no_message(name, place):
    with pytest.raises(UserError, match="a PIN stands in no configuration") as error:
        export(signing_token=place.format(uri=TOKEN, pin=name))
    assert "4711" not in str(error.value)
