"""Fetch a dialogue dataset: a snapshot of its data files, with a hash of each, into one folder.

Reads the source named in --spec: a hub at a pinned revision, or a local file or folder (--local,
or the spec's path). Writes the folder of raw files and the record. Archives are copied as they
are, never unpacked. Rows that were erased (make erase) are taken out, after the hash is checked.
"""

import argparse
import json
from pathlib import Path

from mindtune.cli import argument_parser, run
from mindtune.data import hub
from mindtune.data.erasing import take_out
from mindtune.records import (
    partial_folder,
    sha256_files,
    sha256_listing,
    sha256_path,
    write_hashed_record,
)


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--spec", type=json.loads, required=True, help=f"JSON: {', '.join(hub.SPEC_KEYS)}"
    )
    parser.add_argument(
        "--local",
        default="",
        help="file or folder to take the data from, in place of the spec's source",
    )
    parser.add_argument(
        "--raw", type=Path, required=True, help="folder to make, results/data/DATASET/raw"
    )
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    spec, patterns = arguments.spec, hub.DATA
    key = f"datasets.{arguments.raw.parent.name}"
    hub.check_spec(spec, key)
    local = hub.local_path(arguments.local, spec)
    if local:
        files = hub.local_files(local, patterns, key)
    else:
        files = hub.snapshot_files(hub.download(spec, "dataset", patterns, key), patterns, key)
    with partial_folder(arguments.raw) as folder:
        hashes = hub.place(files, folder, link=False)
        listing = fetched = hub.check_hash(hashes, spec.get("sha256"), key)
        if erased := take_out(folder, spec.get("erased", []), spec.get("fields", {}), key):
            hashes = sha256_files(folder, hashes)
            listing = sha256_listing(hashes)
        left = hub.left_behind(local, hashes) if local else {}
    write_hashed_record(
        arguments.record,
        "fetch_dataset",
        inputs={local.as_posix(): sha256_path(local)} if local else {},
        outputs={arguments.raw.as_posix(): listing},
        params=spec,
        facts={
            "files": hashes,
            "sha256": listing,
            "source_sha256": fetched,  # before rows were erased: what a pin is compared with
            "bytes": hub.size_of(arguments.raw),
            "erased": erased,
            "left_behind": left,
        },
        packages=[] if local else [hub.PACKAGES[spec["source"]]],
    )
    print(f"fetched {len(hashes)} files, sha256 {listing}")
    for name, why in left.items():
        print(f"not taken: {name!r} ({why})")


if __name__ == "__main__":
    raise SystemExit(run(main))
