"""Make the deliverable: the merged files that were proven, a model card, the licence, and a
manifest of every byte.

Nothing is exported without a verify.json whose hash of the merged folder is the hash of the folder
as it is now. The weights are hard links, so there is no second copy. The manifest is written last:
a folder with a manifest is whole. A key, if one is given, signs it, and with it the commit of this
repository and the records of all stages.

Reads   merged folder, verify.json, base folder (licence files), stage records, environment locks,
        the gates' verdicts if there are any
Writes  the export folder and the stage's record
"""

import argparse
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mindtune.audit.code_state import state_of_code
from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.export.manifest import (
    BLOCKS,
    MANIFEST,
    SEAL,
    SIGNATURE,
    data_hash,
    hash_folder,
    write_manifest,
)
from mindtune.export.model_card import model_card, training_cost
from mindtune.export.signing import add_signing, is_asked, sign_as_asked
from mindtune.provenance import Record, check_chain, differs, read_record, read_records
from mindtune.records import (
    link_or_copy,
    list_files,
    partial_folder,
    sha256_file,
    sha256_listing,
    write_hashed_record,
)

ROOT = Path(__file__).resolve().parents[1]
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


def stated(records: Iterable[Path]) -> dict[str, Any]:
    """What a signature says besides the manifest, which has to be the same for the same code: the
    commit that was checked out, the SHA-256 of what differs from it, and those of the records of
    all stages. Without git there is no commit.
    """
    hashes = {path.as_posix(): sha256_file(path) for path in records}
    return {**state_of_code(ROOT), "records": hashes}


def export(args: argparse.Namespace, folder: Path, cost: dict[str, float]) -> dict[str, str]:
    """Fill the export folder; return {file name: sha256}."""
    proof = read_proof(args.verify)
    chain = read_records(sorted(args.records))
    check_chain({**chain, args.verify.as_posix(): proof})
    records = list(chain.values())
    merged = link_folder(args.merged, args.base, folder)
    gates = [read_record(path) for path in args.gates]
    card = model_card(args.settings, [*records, proof, *gates], args.run, cost)
    (folder / "README.md").write_bytes(card.encode("utf-8"))
    # hashed where they will stay, so that a copy that went wrong is seen too
    hashes, blocks = hash_folder(folder)
    found = sha256_listing({name: hashes[name] for name in merged})
    if found != proof["facts"]["hashes"]["merged"]:
        raise UserError(
            f"{args.merged} is not the folder that {args.verify} proved: a file was changed since; "
            f"run verify_merge.py again"
        )
    check_licences(hashes, merged, args.base, chain)
    made_from = origin(args, proof, records)
    hashes = write_manifest(folder, hashes, blocks, made_from)
    if not is_asked(args):
        return hashes
    read = (*args.records, *args.gates, args.verify)
    return hashes | sign_as_asked(folder, args, made_from | stated(read))


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
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
    parser.add_argument("--gates", type=Path, nargs="*", default=[], help="the gates' record")
    parser.add_argument("--run", default="", help="whose verdict by the gates the card shows")
    parser.add_argument(
        "--locks", required=True, type=Path, nargs="+", help="lock files of the environments"
    )
    parser.add_argument("--code", required=True, help="hash of the code")
    add_signing(parser)
    add_json(parser, "--settings", "model", "data_licence")
    parser.add_argument("--dollars-per-gpu-hour", type=float, nargs="?", help="for the card")
    parser.add_argument("--export", required=True, type=Path, help="folder to write")
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cost = training_cost(map(read_record, args.records), args.dollars_per_gpu_hour)
    with partial_folder(args.export) as folder:
        hashes = export(args, folder, cost)
        size = sum((folder / name).stat().st_size for name in hashes)
    inputs = {
        path.as_posix(): sha256_file(path)
        for path in (args.verify, *args.records, *args.gates, *args.locks)
    }
    write_hashed_record(
        args.record,
        "export_model",
        inputs=inputs
        | {args.merged.as_posix(): read_record(args.verify)["facts"]["hashes"]["merged"]},
        outputs={args.export.as_posix(): sha256_listing(hashes)},
        params={**args.settings, "code": args.code},
        facts={"files": len(hashes), "bytes": size, "manifest_sha256": hashes[MANIFEST]}
        | ({"training_cost": cost} if cost else {}),
        packages=["jinja2"],
    )
    print(
        f"exported {len(hashes)} files, {size:,} bytes, to {args.export}; {MANIFEST} has SHA-256 "
        f"{hashes[MANIFEST]}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
