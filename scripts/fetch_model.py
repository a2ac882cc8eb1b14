"""Fetch a base model, or its tokenizer and configuration alone, with a hash of each file, into one folder.

Reads the source named in --spec: a hub at a pinned revision, or a local folder (--local, or the spec's path).
Writes the folder and the record. Only safetensors and JSON are taken; a folder with pickles or Python code is
refused. `sha256` of the spec is that of the whole model.
"""

import argparse
import json
from pathlib import Path

from mindtune import hub
from mindtune.cli import run
from mindtune.finite import check_finite
from mindtune.records import list_files, partial_folder, write_hashed_record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=json.loads, required=True, help=f"JSON: {', '.join(hub.SPEC_KEYS)}")
    parser.add_argument("--local", default="", help="folder to take the model from, in place of the spec's source")
    parser.add_argument("--part", choices=("tokenizer", "all"), required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder to make")
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    spec, whole = arguments.spec, arguments.part == "all"
    hub.check_spec(spec, "model")
    patterns = hub.TOKENIZER + hub.ABOUT + (hub.WEIGHTS if whole else [])
    local = hub.local_path(arguments.local, spec)
    if local:
        files = hub.local_files(local, patterns, "model")
        hub.refuse_unsafe(list_files(local) if local.is_dir() else [local.name], local)
    else:
        files = hub.snapshot_files(hub.download(spec, "model", patterns, "model"), patterns, "model")
    files = {
        name: file for name, file in files.items() if "/" not in name
    }  # onnx/, checkpoints and the like are not the model
    with partial_folder(arguments.model) as folder:
        # what the user may still write to must not share its bytes with what is trained on
        hashes = hub.place(files, folder, link=not local)
        hub.check_model(folder, whole)
        listing = hub.check_hash(hashes, spec.get("sha256") if whole else None, "model")
        if whole:
            check_finite(folder)
    write_hashed_record(
        arguments.record,
        "fetch_model",
        inputs={},
        outputs={arguments.model.as_posix(): listing},
        params={**spec, "part": arguments.part},
        facts={
            "files": hashes,
            "sha256": listing,
            "bytes": hub.size_of(arguments.model),
            "licence": spec.get("licence"),
        },
        packages=[] if local else [hub.PACKAGES[spec["source"]]],
    )
    print(f"fetched {len(hashes)} files of the model ({arguments.part}), sha256 {listing}")


if __name__ == "__main__":
    raise SystemExit(run(main))
