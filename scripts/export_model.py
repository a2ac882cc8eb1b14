"""Make the deliverable: the merged files that were proven, a model card, the licence, and a
manifest of every byte.

Nothing is exported without a verify.json whose hash of the merged folder is the hash of the folder
as it is now. The weights are hard links, so there is no second copy. The manifest is written last:
a folder with a manifest is whole. A key, if one is given, signs it.

Reads   merged folder, verify.json, base folder (licence files), stage records, environment locks
Writes  the export folder and the stage's record
"""

import argparse
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, run
from mindtune.export.model_card import model_card
from mindtune.provenance import Record, check_chain, differs, read_record, read_records
from mindtune.records import (
    link_or_copy,
    list_files,
    partial_folder,
    read_json,
    sha256_file,
    sha256_listing,
    to_json,
    write_hashed_record,
)
from mindtune.secret_files import check_secret

# names and block size are those that verify_export.py reads; it must not import anything of ours
MANIFEST, SEAL, BLOCKS = "manifest.json", "manifest.json.sha256", "manifest.blocks.json"
SIGNATURE = "model.sig"
BLOCK = 1 << 20
LICENCE_FILES = re.compile(r"(licen[cs]e|notice)[^/]*", re.IGNORECASE)


def read_proof(path: Path) -> dict[str, Any]:
    """The record of a passed verify_merge; anything else is a UserError."""
    if not path.is_file():
        raise UserError(
            f"{path} is missing, so the merge is not proven and cannot be exported; run "
            f"verify_merge.py"
        )
    proof = read_record(path)
    if proof.get("stage") != "verify_merge" or "hashes" not in proof.get("facts", {}):
        raise UserError(f"{path} is not the record of verify_merge.py; run it again")
    return proof


def hash_blocks(path: Path) -> tuple[str, list[str]]:
    """(SHA-256 of a file, "sha256:adler32" of each of its blocks of 1 MiB, in hex)."""
    digest, blocks = hashlib.sha256(), []
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
            blocks.append(f"{hashlib.sha256(block).hexdigest()}:{zlib.adler32(block):08x}")
    return digest.hexdigest(), blocks


def hash_folder(folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Hashes and block hashes of a folder's files by name, two files at a time."""
    names = list_files(folder)
    with ThreadPoolExecutor(2) as pool:
        hashed = dict(
            zip(names, pool.map(lambda name: hash_blocks(folder / name), names), strict=True)
        )
    return {name: digest for name, (digest, _) in hashed.items()}, {
        name: blocks for name, (_, blocks) in hashed.items()
    }


def link_folder(merged: Path, base: Path, folder: Path) -> list[str]:
    """Link the merged files, and the base's licence files, into the export; return the names of
    the merged ones.
    """
    names = list_files(merged)
    reserved = {"README.md", MANIFEST, SEAL, BLOCKS, SIGNATURE} & set(names)
    if reserved:
        raise UserError(
            f"{merged} holds {min(reserved)}, which the export writes itself; merge again"
        )
    for name in names:
        link_or_copy(merged / name, folder / name)
    for name in list_files(base):
        if LICENCE_FILES.fullmatch(name) and name not in names:
            link_or_copy(base / name, folder / name)
    return names


def check_licences(
    hashes: Mapping[str, str], merged: list[str], base: Path, chain: Mapping[str, Record]
) -> None:
    """The base's licence files, which no proof covers, are those that were fetched."""
    for path, record in chain.items():
        fetched = record["facts"].get("files", {}) if record["stage"] == "fetch_model" else {}
        for name in sorted(
            filter(LICENCE_FILES.fullmatch, fetched.keys() & hashes.keys() - set(merged))
        ):
            if hashes[name] != fetched[name]:
                raise differs(str(base / name), hashes[name], fetched[name], path, record["stage"])


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


def sign(folder: Path, key: Path) -> dict[str, str]:
    """Sign every file of the folder with an elliptic curve's private key (PEM, no password);
    return the signature's hash.

    The signature is a Sigstore bundle, which the public key alone verifies, with no network
    (`verify_signature.py`).
    """
    from model_signing import signing

    if not key.is_file():
        raise UserError(
            f"export.signing_key: {key} is not there; give the path of a private key, or null for "
            f"no signature"
        )
    check_secret(key)
    try:
        signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, folder / SIGNATURE)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{key} is no private key that can sign ({error}); make one as docs/deployment.md says"
        ) from error
    return {SIGNATURE: sha256_file(folder / SIGNATURE)}


def origin(
    args: argparse.Namespace, proof: Mapping[str, Any], records: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Where the export comes from, for the manifest."""
    model = args.settings["model"]
    return {
        "base": {key: model.get(key) for key in ("id", "source", "revision", "licence")}
        | {"sha256": proof["facts"]["hashes"]["base"]},
        "adapter_sha256": proof["facts"]["hashes"]["adapter"],
        "data_sha256": data_hash(records),
        "code_sha256": args.code,
        "environment_locks": {path.name: sha256_file(path) for path in args.locks},
        "verify_sha256": sha256_file(args.verify),
    }


def export(args: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Fill the export folder; return {file name: sha256}."""
    proof = read_proof(args.verify)
    chain = read_records(sorted(args.records))
    check_chain({**chain, args.verify.as_posix(): proof})
    records = list(chain.values())
    merged = link_folder(args.merged, args.base, folder)
    card = model_card(args.settings, [*records, proof])
    (folder / "README.md").write_bytes(card.encode("utf-8"))
    # hashed where they will stay, so that a copy that went wrong is seen too
    hashes, blocks = hash_folder(folder)
    if (
        sha256_listing({name: hashes[name] for name in merged})
        != proof["facts"]["hashes"]["merged"]
    ):
        raise UserError(
            f"{args.merged} is not the folder that {args.verify} proved: a file was changed since; "
            f"run verify_merge.py again"
        )
    check_licences(hashes, merged, args.base, chain)
    hashes = write_manifest(folder, hashes, blocks, origin(args, proof, records))
    return hashes | sign(folder, args.signing_key) if args.signing_key else hashes


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--merged", required=True, type=Path, help="merged model folder")
    parser.add_argument("--verify", required=True, type=Path, help="verify.json of that folder")
    parser.add_argument(
        "--base", required=True, type=Path, help="base model folder, for its licence files"
    )
    parser.add_argument(
        "--records",
        required=True,
        type=Path,
        nargs="+",
        help="records of the stages, for the model card",
    )
    parser.add_argument(
        "--locks", required=True, type=Path, nargs="+", help="lock files of the environments"
    )
    parser.add_argument("--code", required=True, help="hash of the code")
    parser.add_argument(
        "--signing-key",
        type=Path,
        nargs="?",
        help="private key (PEM); without it there is no signature",
    )
    parser.add_argument(
        "--settings",
        required=True,
        type=json.loads,
        help='JSON: {"model": the config\'s model, "data_licence": {data set: licence}}',
    )
    parser.add_argument("--export", required=True, type=Path, help="folder to write")
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with partial_folder(args.export) as folder:
        hashes = export(args, folder)
        size = sum((folder / name).stat().st_size for name in hashes)
    inputs = {
        path.as_posix(): sha256_file(path) for path in (args.verify, *args.records, *args.locks)
    }
    write_hashed_record(
        args.record,
        "export_model",
        inputs=inputs
        | {args.merged.as_posix(): read_json(args.verify)["facts"]["hashes"]["merged"]},
        outputs={args.export.as_posix(): sha256_listing(hashes)},
        params={**args.settings, "code": args.code},
        facts={"files": len(hashes), "bytes": size, "manifest_sha256": hashes[MANIFEST]},
        packages=["jinja2"],
    )
    print(
        f"exported {len(hashes)} files, {size:,} bytes, to {args.export}; {MANIFEST} has SHA-256 "
        f"{hashes[MANIFEST]}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
