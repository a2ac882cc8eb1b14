"""Signing without a key, at a Sigstore instance on this machine: the name and its provider of
logins are asked for, no internet is, and what is wrong is one sentence.
"""

import json
import socket

import pytest
from mindtune.cli import UserError
from mindtune.config_signing import check_login
from mindtune.export.manifest import SIGNATURE
from mindtune.export.signing import sign_by_login
from signed_export import keys, make_export
from sigstore_instance import ISSUER, instance, login_file
from verify_signature import verify

NAME = "signer@example.org"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A running instance and its trust configuration."""
    with instance(tmp_path_factory.mktemp("信任")) as running:
        yield running


@pytest.fixture
def export(tmp_path, monkeypatch):
    """An export without a signature, on a machine that reaches nothing but itself."""
    connect = socket.socket.connect

    def local(self, address):
        assert address[0] == "127.0.0.1", f"somebody asks {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    return make_export(tmp_path / "export")


def check(export, trust, identity=NAME, issuer=ISSUER, **more):
    """verify, for a login."""
    return verify(export, None, None, identity, issuer=issuer, sigstore=trust, **more)


@pytest.fixture
def signed(export, tmp_path, service):
    """An export that somebody signed by a login, and the trust configuration."""
    sign_by_login(
        export, str(login_file(tmp_path)), service[1], {"commit": "c0ffee0" * 5 + "abcde"}
    )
    return export, service[1]


def test_a_login_signs_and_its_name_is_asked_for(signed):
    said = check(*signed)
    assert said.startswith("OK: ") and f"signed by {NAME}, as {ISSUER} knows it" in said
    assert "made from commit c0ffee0" in said
    check(*signed, commit="c0ffee0" * 5 + "abcde")


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [
        ("else@example.org", ISSUER),
        ("example.org", ISSUER),
        (NAME.upper(), ISSUER),
        (NAME, "https://accounts.google.com"),
        (NAME, ISSUER + "/"),
    ],
)
def test_another_name_or_provider_does_not_pass(signed, identity, issuer):
    with pytest.raises(UserError, match="is not what .* knows it, signed"):
        check(*signed, identity, issuer)


def test_another_instance_and_the_public_one_do_not_pass(signed, tmp_path):
    with (
        instance(tmp_path, "other.json") as (_, other),
        pytest.raises(UserError, match="is not what"),
    ):
        check(signed[0], other)
    with pytest.raises(UserError, match="is not what"):
        check(signed[0], None)


def test_a_changed_file_or_log_does_not_pass(signed):
    export, trust = signed
    bundle = json.loads((export / SIGNATURE).read_text(encoding="utf-8"))
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    entry["integratedTime"] = str(int(entry["integratedTime"]) - 60)
    (export / SIGNATURE).write_text(json.dumps(bundle), encoding="utf-8")
    with pytest.raises(UserError, match="is not what"):
        check(export, trust)
    (export / "README.md").write_text("另一张卡", encoding="utf-8")
    with pytest.raises(UserError, match="is not what was exported"):
        check(export, trust)


def test_a_key_s_signature_is_no_login_s(export, tmp_path, service):
    from mindtune.export.signing import sign

    sign(export, keys(tmp_path, "作者")[0])
    with pytest.raises(UserError, match="is not what"):
        check(export, service[1])


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"life": -60}, "no identity that holds now .*expired"),
        ({"aud": "else"}, "no identity that holds now"),
        ({"nbf": 1 << 40}, "no identity that holds now"),
    ],
)
def test_a_login_that_does_not_hold_asks_nobody(export, tmp_path, service, claims, said):
    before = len(service[0].asked)
    with pytest.raises(UserError, match=said) as error:
        sign_by_login(export, str(login_file(tmp_path, **claims)), service[1])
    assert len(service[0].asked) == before and not (export / SIGNATURE).exists()
    assert (tmp_path / "login").read_text().split(".")[1] not in str(error.value)


def test_a_job_without_a_login_opens_no_browser(export, service, monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="this is no job of a CI"):
        sign_by_login(export, "ambient", service[1])


def test_the_login_of_a_job_signs(export, tmp_path, service, monkeypatch):
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv(
        "SIGSTORE_ID_TOKEN", login_file(tmp_path, "ci@example.org").read_text().strip()
    )
    sign_by_login(export, "ambient", service[1])
    assert "signed by ci@example.org" in check(export, service[1], "ci@example.org")


def test_services_that_are_not_there_are_one_sentence(export, tmp_path):
    with instance(tmp_path, "gone.json") as (_, trust):
        pass
    with pytest.raises(UserError, match="gave no signature .*only the export is made") as error:
        sign_by_login(export, str(login_file(tmp_path)), trust)
    assert "\n" not in str(error.value) and not (export / SIGNATURE).exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", "没有", '{"mediaType": "x"}'])
def test_what_is_no_trust_configuration_is_one_sentence(signed, tmp_path, text):
    (tmp_path / "bad.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="is no trust configuration") as error:
        check(signed[0], tmp_path / "bad.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "密码", "e30.e30.e30", "e30.bnVsbA.e30"])
def test_what_is_no_login_is_refused_before_a_plan(tmp_path, text):
    (tmp_path / "login").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="holds no identity token"):
        check_login(tmp_path / "login", "login")


def test_a_login_for_somebody_else_is_refused_before_a_plan(tmp_path):
    check_login(login_file(tmp_path), "login")
    check_login(login_file(tmp_path, aud=["a", "sigstore"]), "login")
    with pytest.raises(UserError, match="not for the audience sigstore"):
        check_login(login_file(tmp_path, aud="github"), "login")
