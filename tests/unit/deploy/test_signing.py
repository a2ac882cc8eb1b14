"""A signed export is its maker's: the signature holds for the public key alone, and for no other
key, file or byte.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import verify_export
from mindtune.cli import UserError
from mindtune.export import verifying
from mindtune.export.manifest import SIGNATURE
from mindtune.export.signing import sign
from signed_export import ROOT, keys, make_export
from verify_signature import verify


@pytest.fixture
def signed(tmp_path):
    """An export folder with a signature, and the public key."""
    private, public = keys(tmp_path, "作者")
    return make_export(tmp_path / "export", private), public


def program(*words):
    """verify_signature.py on a command line."""
    command = [sys.executable, ROOT / "scripts/deploy/verify_signature.py", *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def test_the_public_key_alone_verifies_it(signed):
    verify(*signed)
    (signed[0] / ".snakemake_timestamp").touch()
    verify(*signed)


def test_a_relative_folder_is_the_same_export(signed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verify(Path("export"), Path("作者.pub")).startswith("OK: ")
    monkeypatch.chdir(tmp_path / "export")
    assert verify(Path("."), signed[1]).startswith("OK: ")


def test_another_key_does_not(signed, tmp_path):
    with pytest.raises(UserError, match="is not what the owner of"):
        verify(signed[0], keys(tmp_path, "别人")[1])


@pytest.mark.parametrize("damage", ["byte", "more", "less"])
def test_a_changed_folder_does_not(signed, damage):
    folder, public = signed
    if damage == "byte":
        content = bytearray((folder / "model-00001-of-00002.safetensors").read_bytes())
        content[777] ^= 1
        (folder / "model-00001-of-00002.safetensors").write_bytes(content)
    elif damage == "more":
        (folder / "多余.py").write_text("print(1)")
    else:
        (folder / "README.md").unlink()
    with pytest.raises(UserError, match="is not what was exported"):
        verify(folder, public)


def test_an_unsigned_folder_is_said_to_be_unsigned(signed):
    (signed[0] / SIGNATURE).unlink()
    with pytest.raises(UserError, match="has no model.sig"):
        verify(*signed)


def test_a_key_that_cannot_sign_is_refused(signed, tmp_path):
    with pytest.raises(UserError, match="is not there"):
        sign(signed[0], tmp_path / "无.pem")
    signed[1].chmod(0o600)
    with pytest.raises(UserError, match="no private key"):
        sign(signed[0], signed[1])


def test_a_private_key_that_others_may_read_is_refused(signed, tmp_path):
    private, _ = keys(tmp_path, "另一")
    private.chmod(0o640)
    with pytest.raises(UserError, match="can be read by others; run chmod 600"):
        sign(signed[0], private)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_private_key_of_another_account_is_refused(signed, tmp_path):
    private, _ = keys(tmp_path, "另一")
    os.chown(private, 12345, -1)
    with pytest.raises(UserError, match="belongs to another account"):
        sign(signed[0], private)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'{"mediaType": 1}', b"{" * 17_000_000,  # noqa: E501
    b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": {"payload": '
b'"", "signatures": []}}'],
    ids=range(9))  # fmt: skip
def test_what_is_no_signature_is_one_sentence(signed, content):
    folder, public = signed
    (folder / SIGNATURE).write_bytes(content)
    with pytest.raises(UserError) as error:
        verify(folder, public)
    assert "\n" not in str(error.value)


def test_a_signature_of_another_export_is_refused(signed, tmp_path):
    folder, public = signed
    other = make_export(tmp_path / "other", tmp_path / "作者.pem", text="另一个")
    (folder / SIGNATURE).write_bytes((other / SIGNATURE).read_bytes())
    with pytest.raises(UserError, match="is not what the owner of .* signed"):
        verify(folder, public)


@pytest.mark.parametrize("name", ["无.pub", "作者.pem", "文.pub"])
def test_what_is_no_public_key_is_one_sentence(signed, tmp_path, name):
    (tmp_path / "文.pub").write_text("不是钥匙")
    with pytest.raises((UserError, FileNotFoundError), match=name) as error:
        verify(signed[0], tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", [".git/config", ".gitignore", ".github/x.yml", ".gitattributes", ".snakemake_x", ".隐"]
)
def test_what_the_library_leaves_out_is_refused(signed, name):
    folder, public = signed
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    with pytest.raises(UserError, match="not in manifest.json"):
        verify(folder, public)


def test_one_verdict_for_everything(signed):
    folder, public = signed
    expect = verify_export.sha256(folder / "manifest.json")
    done = program(folder, "--public-key", public, "--expect", expect)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("OK: ") and done.stdout.endswith(
        f"signed by the owner of {public}\n"
    )
    done = program(folder, "--public-key", public, "--expect", "0" * 64)
    assert done.returncode == 2 and "OK" not in done.stdout and "was expected" in done.stderr


def test_the_byte_check_takes_the_signature_as_part_of_an_export():
    assert verify_export.SIGNATURE == SIGNATURE


# What the signer states besides the files

COMMIT = "c0ffee" * 6 + "abcd"
ORIGIN = {"commit": COMMIT, "base": {"id": "基座"}, "records": {"结果/a.json": "a" * 64}}


def signed_with(folder, tmp_path, **origin):
    """The folder, signed anew with what the signer states."""
    (folder / SIGNATURE).unlink()
    sign(folder, tmp_path / "作者.pem", origin=ORIGIN | origin)


def test_the_commit_is_signed_and_can_be_asked_for(signed, tmp_path):
    folder, public = signed
    signed_with(folder, tmp_path)
    assert verify(folder, public).endswith(f"made from commit {COMMIT}, says the signer")
    assert verify(folder, public, commit=COMMIT.upper()).startswith("OK: ")
    with pytest.raises(UserError, match=f"was made from commit {COMMIT}, and 0000"):
        verify(folder, public, commit="0" * 40)


def test_uncommitted_changes_are_said_and_are_not_the_commit(signed, tmp_path):
    folder, public = signed
    signed_with(folder, tmp_path, uncommitted_sha256="d" * 64)
    assert "with uncommitted changes (SHA-256 dddd" in verify(folder, public)
    with pytest.raises(UserError, match="with uncommitted changes .* without changes was expected"):
        verify(folder, public, commit=COMMIT)


def test_a_signature_without_a_commit_is_of_none(signed):
    with pytest.raises(UserError, match="was signed without a commit"):
        verify(*signed, commit=COMMIT)


def test_a_statement_of_another_manifest_is_refused(signed, tmp_path):
    signed_with(signed[0], tmp_path, base={"id": "另一个"})
    with pytest.raises(UserError, match="its signature and its manifest.json name another base"):
        verify(*signed)


@pytest.mark.parametrize("stated", ["提交", 5, [COMMIT]])
def test_an_origin_that_is_none_is_one_sentence(signed, monkeypatch, stated):
    """A signer may state anything; the library leaves it alone."""
    monkeypatch.setattr(verifying, "check_signature", lambda *_: stated)
    with pytest.raises(UserError, match="states no origin that can be read"):
        verify(*signed, commit=COMMIT)


@pytest.mark.parametrize("where", ["payload", "beside"])
def test_a_forged_commit_does_not_pass(signed, tmp_path, where):
    folder, public = signed
    signed_with(folder, tmp_path)
    bundle = json.loads((folder / SIGNATURE).read_text(encoding="utf-8"))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert statement["predicate"]["origin"] == ORIGIN
    statement["predicate"]["origin"]["commit"] = "0" * 40
    forged = base64.b64encode(json.dumps(statement).encode()).decode()
    if where == "payload":
        bundle["dsseEnvelope"]["payload"] = forged
    else:
        bundle["dsse_envelope"] = bundle["dsseEnvelope"] | {"payload": forged}
    (folder / SIGNATURE).write_text(json.dumps(bundle), encoding="utf-8")
    with pytest.raises(UserError, match="is not what the owner of"):
        verify(folder, public, commit="0" * 40)


def test_a_short_commit_is_refused_on_the_command_line(signed):
    done = program(signed[0], "--public-key", signed[1], "--commit", "c0ffee")
    assert done.returncode == 2 and "is no commit, which has 40 or 64" in done.stderr
