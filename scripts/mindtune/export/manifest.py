"""The manifest of an export: a hash of every file and of every block."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import hashing_threads, list_files, sha256_file, to_json

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
