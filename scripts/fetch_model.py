"""Fetch a base model, or its tokenizer and configuration alone, with a hash of each file, into one
folder.

Reads the source named in --spec: a hub at a pinned revision, or a local folder (--local, or the
spec's path). Writes the folder and the record. Only files are taken whose names stand in a list
(mindtune/model_files.py); a local folder with pickles or code is refused, and so is JSON that
names code. `sha256` of the spec is that of the whole model, and the tokenizer's files have to be
among it: with --tokenizer-record they are compared.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mindtune.chat_templates import named, template_text
from mindtune.cli import argument_parser, run
from mindtune.data import hub, hub_models
from mindtune.finite import check_finite
from mindtune.model_files import ABOUT, TOKENIZER, WEIGHTS, check_names
from mindtune.preflight import check_results_room
from mindtune.provenance import read_record
from mindtune.records import list_files, partial_folder, read_json, sha256_file, write_hashed_record
from mindtune.train.memory import stored_bytes


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--spec", type=json.loads, required=True, help=f"JSON: {', '.join(hub.SPEC_KEYS)}"
    )
    parser.add_argument(
        "--local", default="", help="folder to take the model from, in place of the spec's source"
    )
    parser.add_argument("--part", choices=("tokenizer", "all"), required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--tokenizer-record", type=Path, nargs="?", help="record of the tokenizer part (part all)"
    )
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def find_files(spec: dict[str, Any], local: Path | None, patterns: list[str]) -> dict[str, Path]:
    """{name: file} of the model's files, from a local folder or from the hub; onnx/, checkpoints
    and the like are not the model.
    """
    if local:
        files = hub.local_files(local, patterns, "model")
        check_names(list_files(local) if local.is_dir() else [local.name], local)
    else:
        snapshot = hub.download(spec, "model", patterns, "model")
        files = hub.snapshot_files(snapshot, patterns, "model")
    return {name: file for name, file in files.items() if "/" not in name}


def fill(folder: Path, args: argparse.Namespace, local: Path | None) -> tuple[dict[str, str], str]:
    """Put the model's files into the folder and check them; return ({name: sha256}, the
    folder's).
    """
    spec, whole = args.spec, args.part == "all"
    files = find_files(spec, local, TOKENIZER + ABOUT + (WEIGHTS if whole else []))
    # what the user may still write to must not share its bytes with what is trained on
    hashes = hub.place(files, folder, link=not local)
    hub_models.check_model(folder, whole)
    if args.tokenizer_record:
        tokenizer = read_record(args.tokenizer_record)["facts"]["files"]
        hub_models.compare_parts(hashes, tokenizer, "model")
    if not whole and (base := stored_bytes(read_json(folder / "config.json"))):
        check_results_room(folder, base)
    listing = hub.check_hash(hashes, spec.get("sha256") if whole else None, "model")
    if whole:
        check_finite(folder)
    return hashes, listing


def main() -> None:
    args = parse_args()
    hub.check_spec(args.spec, "model")
    local = hub.local_path(args.local, args.spec)
    with partial_folder(args.model) as folder:
        hashes, listing = fill(folder, args, local)
    write_hashed_record(
        args.record,
        "fetch_model",
        inputs={path.as_posix(): sha256_file(path) for path in [args.tokenizer_record] if path},
        outputs={args.model.as_posix(): listing},
        params={**args.spec, "part": args.part},
        facts={
            "files": hashes,
            "sha256": listing,
            "bytes": hub.size_of(args.model),
            "template": named(template_text(args.model)),
        },
        packages=[] if local else [hub.PACKAGES[args.spec["source"]]],
    )
    print(f"fetched {len(hashes)} files of the model ({args.part}), sha256 {listing}")


if __name__ == "__main__":
    raise SystemExit(run(main))
