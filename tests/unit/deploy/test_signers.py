"""Who signed an export: keys with a passphrase, certificates of an authority, and what was taken
back.
"""

import os
import subprocess
import sys

import pytest
from certificates import SIGNER, certified, leaf, openssl
from mindtune.cli import UserError
from mindtune.export.manifest import SIGNATURE
from mindtune.export.signing import sign
from signed_export import ROOT, keys, make_export
from verify_export import sha256
from verify_signature import verify

PASSPHRASE = "芝麻 open $(sesame) 17"


def secret(path, text):
    """A file that only its owner may read."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def authority(tmp_path):
    """(private key, certificate) of an authority."""
    return certified(tmp_path, "authority")


@pytest.fixture
def export(tmp_path):
    """An export without a signature."""
    return make_export(tmp_path / "export")


@pytest.fixture
def locked(tmp_path):
    """A private key with a passphrase, its public key, and the file with the passphrase."""
    private, public = keys(tmp_path, "锁")
    known = secret(tmp_path / "passphrase", PASSPHRASE + "\n")
    openssl("ec", "-aes256", "-in", private, "-out", tmp_path / "locked.pem",
            "-passout", f"file:{known}")  # fmt: skip
    (tmp_path / "locked.pem").chmod(0o600)
    return tmp_path / "locked.pem", public, known


# A key with a passphrase


def test_a_key_with_a_passphrase_signs(export, locked):
    private, public, known = locked
    sign(export, private, known)
    assert verify(export, public).startswith("OK: ")
    assert all(PASSPHRASE.encode() not in path.read_bytes() for path in export.iterdir())


@pytest.mark.parametrize("text", [None, "not it 99\n"])
def test_a_missing_or_wrong_passphrase_is_one_sentence(export, locked, text):
    private, _, known = locked
    with pytest.raises(UserError, match="name its export.signing_passphrase") as error:
        sign(export, private, secret(known, text) if text else None)
    assert not (export / SIGNATURE).exists()
    assert (text or PASSPHRASE).strip() not in str(error.value)


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n"])
def test_a_file_that_is_no_passphrase_is_refused(export, locked, text):
    with pytest.raises(UserError, match="needs a file with one"):
        sign(export, locked[0], secret(locked[2], text))


def test_a_passphrase_that_others_may_read_is_refused(export, locked):
    locked[2].chmod(0o640)
    with pytest.raises(UserError, match="can be read by others"):
        sign(export, locked[0], locked[2])


# A certificate of an authority


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize(
    ("names", "identity"),
    [
        (f"email:{SIGNER}", SIGNER),
        ("URI:https://example.org/build.yml", "https://example.org/build.yml"),
        (f"email:else@example.org,email:{SIGNER}", SIGNER),
    ],
)
def test_a_name_that_the_authority_vouches_for_passes(
    export, tmp_path, authority, names, identity, between
):
    issuer = certified(tmp_path, "between", authority) if between else authority
    private, made = leaf(tmp_path, "leaf", issuer, names)
    if between:
        made.write_bytes(made.read_bytes() + issuer[1].read_bytes())
    sign(export, private, certificates=made)
    said = verify(export, None, authority[1], identity)
    assert said.startswith("OK: ") and f"signed by {identity}, by a certificate of" in said


@pytest.mark.parametrize(
    "asked",
    ["else@example.org", "Signer@example.org", "signer@example.org.evil", "leaf", "example.org"],
)
def test_another_name_does_not(export, tmp_path, authority, asked):
    private, made = leaf(tmp_path, "leaf", authority)
    sign(export, private, certificates=made)
    with pytest.raises(UserError, match=f"was signed by {SIGNER}, and {asked} was expected"):
        verify(export, None, authority[1], asked)


def test_a_signer_without_a_name_is_nobody(export, tmp_path, authority):
    private, made = leaf(tmp_path, "leaf", authority, names="")
    sign(export, private, certificates=made)
    with pytest.raises(UserError, match="was signed by a signer without a name"):
        verify(export, None, authority[1], "leaf")


def test_the_same_name_by_another_authority_does_not(export, tmp_path, authority):
    other = certified(tmp_path, "other")
    private, made = leaf(tmp_path, "leaf", other)
    made.write_bytes(made.read_bytes() + other[1].read_bytes())
    sign(export, private, certificates=made)
    with pytest.raises(UserError, match="is not what somebody whom .* vouches for signed"):
        verify(export, None, authority[1], SIGNER)


def test_a_certificate_that_may_not_sign_does_not(export, tmp_path, authority):
    private, made = leaf(tmp_path, "leaf", authority, usage="keyAgreement")
    sign(export, private, certificates=made)
    with pytest.raises(UserError, match="cannot be used for signing|is not what"):
        verify(export, None, authority[1], SIGNER)


def test_a_key_s_signature_is_no_name_s_and_the_other_way_round(export, tmp_path, authority):
    private, public = keys(tmp_path, "作者")
    sign(export, private)
    with pytest.raises(UserError, match="is not what somebody whom"):
        verify(export, None, authority[1], SIGNER)
    (export / SIGNATURE).unlink()
    private, made = leaf(tmp_path, "leaf", authority)
    sign(export, private, certificates=made)
    with pytest.raises(UserError, match="is not what the owner of"):
        verify(export, public)


def test_a_key_that_is_not_the_certificate_s_is_refused(export, tmp_path, authority):
    private, _ = keys(tmp_path, "作者")
    _, made = leaf(tmp_path, "leaf", authority)
    with pytest.raises(UserError, match="is no private key that can sign"):
        sign(export, private, certificates=made)


def test_a_file_that_is_no_authority_is_one_sentence(export, tmp_path, authority):
    private, public = keys(tmp_path, "作者")
    sign(export, private)
    with pytest.raises(UserError, match="holds no certificate"):
        verify(export, None, public, SIGNER)


# What was taken back


def test_a_key_that_was_taken_back_signs_nothing(export, tmp_path, authority):
    private, public = keys(tmp_path, "作者")
    sign(export, private)
    revoked = tmp_path / "revoked.txt"
    revoked.write_text(f"# lost\n{sha256(public).upper()}  author.pub\n\n", encoding="utf-8")
    with pytest.raises(UserError, match="the key that signed .*: its owner took it back"):
        verify(export, public, revoked=revoked)
    (export / SIGNATURE).unlink()
    private, made = leaf(tmp_path, "leaf", authority)
    sign(export, private, certificates=made)
    assert verify(export, None, authority[1], SIGNER, revoked=revoked).startswith("OK")
    openssl("ec", "-in", private, "-pubout", "-out", public)
    revoked.write_text(sha256(public), encoding="utf-8")
    with pytest.raises(UserError, match="the key that signed .*: its owner took it back"):
        verify(export, None, authority[1], SIGNER, revoked=revoked)


def test_an_export_that_was_taken_back_is_refused(export, tmp_path):
    private, public = keys(tmp_path, "作者")
    sign(export, private)
    revoked = tmp_path / "revoked.txt"
    revoked.write_text(f"{sha256(export / 'manifest.json')}  manifest.json\n", encoding="utf-8")
    with pytest.raises(UserError, match="the author took this export back"):
        verify(export, public, revoked=revoked)


@pytest.mark.parametrize("content", [b"abc", b"a" * 63, b"sha256:" + b"a" * 64, b"\xff", None])
def test_a_list_that_cannot_be_read_revokes_everything(export, tmp_path, content):
    private, public = keys(tmp_path, "作者")
    sign(export, private)
    if content is not None:
        (tmp_path / "revoked.txt").write_bytes(content)
    with pytest.raises((UserError, FileNotFoundError), match="revoked.txt|decode"):
        verify(export, public, revoked=tmp_path / "revoked.txt")


def test_the_check_without_a_package_knows_the_list(export, tmp_path):
    revoked = tmp_path / "revoked.txt"
    check = [sys.executable, "-I", ROOT / "scripts/deploy/verify_export.py", export, "--revoked"]
    for text, status in (("# none\n", 0), (sha256(export / "manifest.json"), 1), ("x", 1)):
        revoked.write_text(text, encoding="utf-8")
        done = subprocess.run([*check, revoked], capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == status, done.stdout + done.stderr
        assert bool(done.stderr) == bool(status) and "Traceback" not in done.stderr


def test_make_verify_asks_for_a_name(export, tmp_path, authority):
    private, made = leaf(tmp_path, "leaf", authority)
    sign(export, private, certificates=made)
    program = [sys.executable, ROOT / "scripts/deploy/verify_signature.py", export]
    for words, status in (
        (["--authority", authority[1], "--identity", SIGNER], 0),
        (["--authority", authority[1], "--identity", "else@example.org"], 2),
        (["--authority", authority[1]], 2),
        (["--identity", SIGNER], 2),
        ([], 2),
    ):
        done = subprocess.run(
            [*program, *words], capture_output=True, text=True, encoding="utf-8", env=os.environ
        )
        assert done.returncode == status, done.stderr
        assert done.stdout.startswith("OK") == (status == 0)
