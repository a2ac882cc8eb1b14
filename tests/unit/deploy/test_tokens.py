"""Keys in hardware (PKCS#11), in a token of SoftHSM: they sign, their PIN is seen nowhere, and what
is wrong is one sentence.
"""

import os
import subprocess
import sys
import warnings

import pytest
from certificates import SIGNER, certified, leaf
from mindtune.cli import UserError, argument_parser
from mindtune.environments import site_packages, venv_name, venvs_folder
from mindtune.export.manifest import SIGNATURE
from mindtune.export.signing import add_signing, sign_as_asked, sign_by_token
from signed_export import keys, make_export
from tokens import MISSING, PIN, URI, make_token, put_key
from verify_signature import verify

PACKAGES = site_packages(f"{venvs_folder()}/{venv_name('signing', on_gpu=False)}")
if MISSING:
    warnings.warn(f"NOT TESTED, keys in hardware: {MISSING}", stacklevel=1)
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """(public key, private key) of a key that lies in a token, and the folder."""
    folder = tmp_path_factory.mktemp("token")
    before = os.environ.get("SOFTHSM2_CONF")
    make_token(folder)
    private, public = keys(folder, "作者")
    put_key(folder, private)
    yield public, private, folder
    os.environ.pop("SOFTHSM2_CONF")
    os.environ.update({"SOFTHSM2_CONF": before} if before else {})


@pytest.fixture
def export(tmp_path):
    """An export without a signature."""
    return make_export(tmp_path / "export")


def pin_file(folder, text=PIN):
    """A file with a PIN that only its owner may read."""
    (folder / "pin").write_text(f"{text}\n", encoding="utf-8")
    (folder / "pin").chmod(0o600)
    return folder / "pin"


def test_a_key_in_a_token_signs(export, tmp_path, token):
    sign_by_token(export, URI, pin_file(tmp_path), packages=PACKAGES)
    assert verify(export, token[0]).startswith("OK: ")
    with pytest.raises(UserError, match="is not what the owner of"):
        verify(export, keys(tmp_path, "别人")[1])
    assert all(PIN.encode() not in path.read_bytes() for path in export.iterdir())


def test_a_changed_byte_does_not_pass(export, tmp_path, token):
    sign_by_token(export, URI, pin_file(tmp_path), packages=PACKAGES)
    (export / "README.md").write_text("另一张卡", encoding="utf-8")
    with pytest.raises(UserError, match="is not what was exported"):
        verify(export, token[0])


def test_its_certificate_gives_a_name(export, tmp_path, token):
    authority = certified(tmp_path, "authority")
    private, certificate = leaf(tmp_path, "leaf", authority)
    put_key(token[2], private, "named", "b2")
    certificate.write_bytes(certificate.read_bytes() + authority[1].read_bytes())
    uri = URI.replace("=author", "=named")
    sign_by_token(export, uri, pin_file(tmp_path), certificate, PACKAGES)
    assert f"signed by {SIGNER}, by" in verify(export, None, authority[1], SIGNER)
    (export / SIGNATURE).unlink()
    with pytest.raises(UserError, match="does not match"):
        sign_by_token(export, URI, pin_file(tmp_path), certificate, PACKAGES)


@pytest.mark.parametrize(
    ("uri", "pin", "said"),
    [
        (URI, "0000", "CKR_PIN_INCORRECT"),
        (URI, None, "Could not find any object"),
        (URI.replace("author", "nobody"), PIN, "label nobody"),
        (URI.replace("mindtune", "other"), PIN, "token with label other"),
        (URI.replace("object=author", "id=%ff"), PIN, "Could not find"),
        (URI.replace("token=mindtune", "slot-id=99999999999"), PIN, "slot-id"),
        (URI.replace(".so", ".not"), PIN, "cannot sign"),
        ("pkcs11:token=mindtune;object=author?module-path=/etc/passwd", PIN, "cannot sign"),
    ],
)
def test_what_cannot_sign_is_one_sentence(export, tmp_path, token, uri, pin, said):
    with pytest.raises(UserError, match=said) as error:
        sign_by_token(export, uri, pin and pin_file(tmp_path, pin), packages=PACKAGES)
    assert "\n" not in str(error.value) and PIN not in str(error.value)
    assert not (export / SIGNATURE).exists()


def test_a_pin_that_the_library_cannot_send_is_refused(export, tmp_path, token):
    with pytest.raises(UserError, match="besides ASCII's"):
        sign_by_token(export, URI, pin_file(tmp_path, "密码"), packages=PACKAGES)


def test_a_pin_that_others_may_read_is_refused(export, tmp_path, token):
    pin_file(tmp_path).chmod(0o640)
    with pytest.raises(UserError, match="can be read by others"):
        sign_by_token(export, URI, tmp_path / "pin", packages=PACKAGES)


def test_the_flags_of_the_program_sign(export, tmp_path, token):
    parser = argument_parser("export")
    add_signing(parser)
    words = ["--signing-key", "--signing-token", URI, "--signing-passphrase"]
    words += [str(pin_file(tmp_path)), "--signing-certificate", "--token-packages", PACKAGES]
    assert list(sign_as_asked(export, parser.parse_args(words))) == [SIGNATURE]
    assert verify(export, token[0]).startswith("OK: ")
    assert sign_as_asked(export, parser.parse_args(["--signing-key", "--signing-token"])) == {}


def test_without_its_package_it_says_what_to_build(export, tmp_path):
    code = (
        "import sys; from pathlib import Path; from mindtune.export.signing import sign_by_token\n"
        "from mindtune.cli import run\n"
        f"run(lambda: sign_by_token(Path({str(export)!r}), {URI!r}, packages=Path('/无')))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["PYTHONPATH"] = environment["PYTHONPATH"].replace(PACKAGES, "/none")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          encoding="utf-8", env=environment)  # fmt: skip
    assert "build it with envs/signing.lock" in done.stderr and "Traceback" not in done.stderr
