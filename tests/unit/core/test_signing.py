"""A signed export is its maker's: the signature holds for the public key alone, and for no other key, file or byte."""

import subprocess
from pathlib import Path

import pytest
import verify_export
from export_model import SIGNATURE, sign
from mindtune.cli import UserError
from verify_signature import verify


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key, made as docs/deployment.md says."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private], check=True)
    subprocess.run(["openssl", "ec", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@pytest.fixture
def signed(tmp_path) -> tuple[Path, Path]:
    """An export folder with a signature, and the public key."""
    private, public = keys(tmp_path, "作者")
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "README.md").write_text("模型卡：不能代替医生。\n", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
    assert set(sign(folder, private)) == {SIGNATURE}
    return folder, public


def test_the_public_key_alone_verifies_it(signed):
    verify(*signed)
    (signed[0] / ".snakemake_timestamp").touch()
    verify(*signed)


def test_another_key_does_not(signed, tmp_path):
    with pytest.raises(UserError, match="is not what the owner of"):
        verify(signed[0], keys(tmp_path, "别人")[1])


@pytest.mark.parametrize("damage", ["byte", "more", "less"])
def test_a_changed_folder_does_not(signed, damage):
    folder, public = signed
    if damage == "byte":
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[777] ^= 1
        (folder / "model.safetensors").write_bytes(content)
    elif damage == "more":
        (folder / "多余.py").write_text("print(1)")
    else:
        (folder / "README.md").unlink()
    with pytest.raises(UserError, match="is not what the owner of"):
        verify(folder, public)


def test_an_unsigned_folder_is_said_to_be_unsigned(signed):
    (signed[0] / SIGNATURE).unlink()
    with pytest.raises(UserError, match="has no model.sig"):
        verify(*signed)


def test_a_key_that_cannot_sign_is_refused(signed, tmp_path):
    with pytest.raises(UserError, match="is not there"):
        sign(signed[0], tmp_path / "无.pem")
    with pytest.raises(UserError, match="no private key"):
        sign(signed[0], signed[1])


def test_the_byte_check_takes_the_signature_as_part_of_an_export():
    assert verify_export.SIGNATURE == SIGNATURE
