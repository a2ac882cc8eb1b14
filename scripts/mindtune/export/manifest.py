"""The manifest of an export: a hash of every file and of every block, and a signature over them."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import hashing_threads, list_files, sha256_file, to_json
from mindtune.secret_files import check_secret

# names and block size are those that verify_export.py reads; it must not import anything of ours
MANIFEST, SEAL, BLOCKS = "manifest.json", "manifest.json.sha256", "manifest.blocks.json"


SIGNATURE = "model.sig"


BLOCK = 1 << 20


def hash_blocks(path: Path) -> tuple[str, list[str]]:
    """(SHA-256 of a file, "sha256:adler32" of each of its blocks of 1 MiB, in hex)."""
    digest, blocks = hashlib.sha256(), []
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            blocks.append(f"{hashlib.sha256(block).hexdigest()}:{zlib.adler32(block):08x}")
    return digest.hexdigest(), blocks


def hash_folder(folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Hashes and block hashes of a folder's files by name, several files at a time."""
    names = list_files(folder)
    with hashing_threads() as pool:
        hashed = dict(
            zip(names, pool.map(lambda name: hash_blocks(folder / name), names), strict=True)
        )
    return {name: digest for name, (digest, _) in hashed.items()}, {
        name: blocks for name, (_, blocks) in hashed.items()
    }


def data_hash(records: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of the training split, from the record that made it; of a mixture, the whole."""
    made = {record["stage"]: record["outputs"] for record in records}
    outputs = made.get("mix_datasets") or made.get("split_dialogues") or {}
    for name, digest in outputs.items():
        if Path(name).name == "train.jsonl":
            return digest
    raise UserError(
        "--records: no record of split_dialogues with train.jsonl; the manifest names data by it"
    )


def write_manifest(
    folder: Path, hashes: dict[str, str], blocks: dict[str, list[str]], origin: Mapping[str, Any]
) -> dict[str, str]:
    """Write block hashes, manifest and seal; return all hashes, theirs included.

    The seal is the manifest's own hash in the form of sha256sum: without it a changed byte in the
    manifest would go unseen.
    """
    (folder / BLOCKS).write_bytes(
        (to_json({"block_bytes": BLOCK, "files": blocks}, indent=0) + "\n").encode()
    )
    hashes = hashes | {BLOCKS: sha256_file(folder / BLOCKS)}
    files = {
        name: {"sha256": digest, "bytes": (folder / name).stat().st_size}
        for name, digest in hashes.items()
    }
    (folder / MANIFEST).write_bytes((to_json({"files": files, **origin}) + "\n").encode())
    digest = sha256_file(folder / MANIFEST)
    (folder / SEAL).write_bytes(f"{digest}  {MANIFEST}\n".encode())
    return hashes | {MANIFEST: digest, SEAL: sha256_file(folder / SEAL)}


def read_passphrase(path: Path) -> bytes:
    """The first line of a file that only its owner may read."""
    check_secret(path)
    lines = path.read_bytes().splitlines()
    if len(lines) != 1 or not lines[0]:
        raise UserError(
            f"{path} has {len(lines)} lines, and export.signing_passphrase needs a file with one: "
            f"the passphrase"
        )
    return lines[0]


def signer(key: Path, passphrase: Path | None, certificates: Path | None) -> Any:
    """What signs: a key, or a key with the certificates that say whose it is (the signer's own
    first, then those between it and the authority).
    """
    from model_signing import signing

    if certificates is None:
        password = read_passphrase(passphrase) if passphrase else None
        # typed as str, but handed to cryptography, which takes bytes
        return signing.Config().use_elliptic_key_signer(private_key=key, password=password)
    # a chain without a certificate is an error of the library, the signer's own in it is not
    return signing.Config().use_certificate_signer(
        private_key=key, signing_certificate=certificates, certificate_chain=[certificates]
    )


def sign(
    folder: Path, key: Path, passphrase: Path | None = None, certificates: Path | None = None
) -> dict[str, str]:
    """Sign every file of the folder with an elliptic curve's private key (PEM); return the
    signature's hash.

    The signature is a Sigstore bundle, which the public key, or the authority's certificate, alone
    verifies, with no network (`verify_signature.py`).
    """
    if not key.is_file():
        raise UserError(
            f"export.signing_key: {key} is not there; give the path of a private key, or null for "
            f"no signature"
        )
    check_secret(key)
    try:
        signer(key, passphrase, certificates).sign(folder, folder / SIGNATURE)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{key} is no private key that can sign ({error}); make one as docs/deployment.md "
            f"says, and name its export.signing_passphrase or signing_certificate if it has one"
        ) from error
    return {SIGNATURE: sha256_file(folder / SIGNATURE)}
