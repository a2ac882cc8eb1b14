"""The server of an activated export: its key, its configuration, and a signature on demand."""

import os
import stat
from pathlib import Path

import pytest
import serve_export
import yaml
from mindtune.cli import UserError
from mindtune.config import serve_settings
from signed_export import seal
from stored_exports import make_export
from test_deployment import ROOT
from verify_export import sha256


def test_the_server_demands_a_signature_if_told(signed, tmp_path, capsys):
    export, public, _ = signed
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"export": {"public_key": str(public)}}), encoding="utf-8")
    assert serve_export.demanded({}, serve_export.read_config(None)) == {}
    key = serve_export.demanded({}, serve_export.read_config(overlay))
    assert key == {"public_key": str(public)}
    serve_export.check_export(export, key)
    assert "signed by the owner of" in capsys.readouterr().out
    with pytest.raises(UserError, match="has no model.sig"):
        serve_export.check_export(make_export(tmp_path / "unsigned", "二"), key)
    (export / "config.json").write_text("{}", encoding="utf-8")
    seal(export)
    serve_export.check_export(export, {})
    assert "who made it was not checked" in capsys.readouterr().out
    with pytest.raises(UserError, match="is not what the owner of"):
        serve_export.check_export(export, key)


def test_the_command_line_s_signer_takes_the_place_of_the_configuration_s(tmp_path):
    overlay = tmp_path / "mine.yaml"
    export = {"public_key": "a.pub", "revoked": "/lists/revoked.txt"}
    overlay.write_text(yaml.safe_dump({"export": export}), encoding="utf-8")
    config = serve_export.read_config(overlay)
    given = {"authority": Path("ca.pem"), "identity": "signer@example.org", "public_key": None}
    assert serve_export.demanded(given, config) == {
        "authority": "ca.pem",
        "identity": "signer@example.org",
        "revoked": "/lists/revoked.txt",
    }
    assert serve_export.demanded({"revoked": Path("mine.txt")}, config) == {
        "public_key": str(ROOT / "a.pub"),
        "revoked": "mine.txt",
    }


def test_what_was_taken_back_is_not_served(signed, tmp_path):
    export, public, _ = signed
    revoked = tmp_path / "revoked.txt"
    for what in (export / "manifest.json", public):
        revoked.write_text(f"{sha256(what)}  {what.name}\n", encoding="utf-8")
        with pytest.raises(UserError, match="revoked.txt lists the SHA-256 of"):
            serve_export.check_export(export, {"public_key": str(public), "revoked": str(revoked)})
    revoked.write_text(f"{sha256(export / 'manifest.json')}\n", encoding="utf-8")
    with pytest.raises(UserError, match="the author took this export back"):
        serve_export.check_export(export, {"revoked": str(revoked)})


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "state" / "serve.key"
    serve_export.check_key(path)
    key = path.read_text(encoding="ascii")
    assert len(key.strip()) >= 40 and stat.S_IMODE(path.stat().st_mode) == 0o600
    serve_export.check_key(path)
    assert path.read_text(encoding="ascii") == key
    path.chmod(0o640)
    with pytest.raises(UserError, match="can be read by others"):
        serve_export.check_key(path)
    path.chmod(0o600)
    path.write_text(key, encoding="ascii")
    serve_export.check_key(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "x",
        "short\n",
        "a" * 20 + "\n" + "b" * 20,
        "a" * 20 + "\n\n",
        "a b" * 20,
        "钥匙" * 20,
        "a" * 20 + "\r\n",
    ],
)
def test_what_is_no_key_is_refused(tmp_path, text):
    path = tmp_path / "serve.key"
    path.write_bytes(text.encode())
    path.chmod(0o600)
    with pytest.raises(UserError, match="holds no key, which is one line of at least 16"):
        serve_export.check_key(path)
    path.write_text("a" * 16)
    serve_export.check_key(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_account_is_refused(tmp_path):
    path = tmp_path / "serve.key"
    serve_export.check_key(path)
    os.chown(path, 12345, -1)
    with pytest.raises(UserError, match="belongs to another account"):
        serve_export.check_key(path)


def test_the_configuration_is_the_workflow_s(tmp_path):
    assert serve_export.read_config(None)["serve"]["engine"] == "lmdeploy"
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("serve: {model_name: counsel-demo, session_len: 8192}\n", encoding="utf-8")
    config = serve_export.read_config(overlay)["serve"]
    assert (config["model_name"], config["session_len"], config["tp"]) == ("counsel-demo", 8192, 1)
    overlay.write_text("serve: {cache_max_entry_count: 0}\n", encoding="utf-8")
    with pytest.raises(UserError, match="0 .*no token at all"):
        serve_export.read_config(overlay)


def test_the_server_gets_the_port_and_no_key_on_its_command_line(tmp_path):
    for overlay, flag in ((None, "--server-port"), (ROOT / "config/demo.yaml", "--port")):
        config = serve_export.read_config(overlay)
        engine = {**serve_settings(config), "python": "/env/bin/python"}
        words = serve_export.command(Path("/导出"), engine, 23456, tmp_path / "key.port")
        assert words[0] == "/env/bin/python" and words[words.index(flag) + 1] == "23456"
        assert "/导出" in words and not any("key" in word and "port" not in word for word in words)
