"""Fetch a base model, or its tokenizer and configuration alone, with a hash of each file, into one
folder.

Reads the source named in --spec: a hub at a pinned revision, or a local folder (--local, or the
spec's path). Writes the folder and the record. Only files are taken whose names stand in a list
(mindtune/model_files.py); a local folder with pickles or code is refused, and so is JSON that
names code. `sha256` of the spec is that of the whole model, and the tokenizer's files have to be
among it: with --tokenizer-record they are compared.
"""

import json
from pathlib import Path

from mindtune.chat_templates import named, template_text
from mindtune.cli import argument_parser, run
from mindtune.data import hub, hub_models
from mindtune.finite import check_finite
from mindtune.model_files import ABOUT, TOKENIZER, WEIGHTS, check_names
from mindtune.preflight import check_results_room
from mindtune.records import list_files, partial_folder, read_json, sha256_file, write_hashed_record
from mindtune.train.memory import stored_bytes


def main() -> None:
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
    arguments = parser.parse_args()
    spec, whole = arguments.spec, arguments.part == "all"
    hub.check_spec(spec, "model")
    patterns = TOKENIZER + ABOUT + (WEIGHTS if whole else [])
    local = hub.local_path(arguments.local, spec)
    if local:
        files = hub.local_files(local, patterns, "model")
        check_names(list_files(local) if local.is_dir() else [local.name], local)
    else:
        files = hub.snapshot_files(
            hub.download(spec, "model", patterns, "model"), patterns, "model"
        )
    files = {
        name: file for name, file in files.items() if "/" not in name
    }  # onnx/, checkpoints and the like are not the model
    with partial_folder(arguments.model) as folder:
        # what the user may still write to must not share its bytes with what is trained on
        hashes = hub.place(files, folder, link=not local)
        hub_models.check_model(folder, whole)
        if arguments.tokenizer_record:
            hub_models.compare_parts(
                hashes, read_json(arguments.tokenizer_record)["facts"]["files"], "model"
            )
        if not whole and (base := stored_bytes(read_json(folder / "config.json"))):
            check_results_room(folder, base)
        listing = hub.check_hash(hashes, spec.get("sha256") if whole else None, "model")
        if whole:
            check_finite(folder)
    write_hashed_record(
        arguments.record,
        "fetch_model",
        inputs={
            path.as_posix(): sha256_file(path) for path in [arguments.tokenizer_record] if path
        },
        outputs={arguments.model.as_posix(): listing},
        params={**spec, "part": arguments.part},
        facts={
            "files": hashes,
            "sha256": listing,
            "bytes": hub.size_of(arguments.model),
            "template": named(template_text(arguments.model)),
        },
        packages=[] if local else [hub.PACKAGES[spec["source"]]],
    )
    print(f"fetched {len(hashes)} files of the model ({arguments.part}), sha256 {listing}")


if __name__ == "__main__":
    raise SystemExit(run(main))
