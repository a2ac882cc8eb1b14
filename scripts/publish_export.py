"""Put a run's export where people look for it: hard links, checked against the manifest after
linking.

Reads   an export folder
Writes  the published folder and the stage's record
"""

from pathlib import Path

from deploy.verify_export import MANIFEST, check
from mindtune.cli import UserError, argument_parser, run
from mindtune.provenance import add_made_by, check_inputs, read_record
from mindtune.records import (
    link_or_copy,
    list_files,
    partial_folder,
    read_json,
    sha256_file,
    sha256_listing,
    write_hashed_record,
)

PASSED = "passed"


def publish(export: Path, folder: Path) -> dict[str, str]:
    """Link all files, check them, and return {file name: sha256}; a file that is not what was
    exported is a UserError.
    """
    for name in list_files(export):
        link_or_copy(export / name, folder / name)
    wrong, _, _ = check(folder)
    if wrong:
        raise UserError(f"{export} is not what was exported ({wrong[0]}); export again")
    hashes = {
        name: entry["sha256"] for name, entry in read_json(folder / MANIFEST)["files"].items()
    }
    return {name: hashes.get(name) or sha256_file(folder / name) for name in list_files(folder)}


def check_gates(gates: Path, run_name: str) -> None:
    """A run that does not pass its gates is not published."""
    verdict = read_record(gates)["facts"]["verdicts"].get(run_name, "not among those judged")
    if verdict != PASSED:
        raise UserError(
            f"{gates}: run {run_name} is {verdict} by its gates, and only a run that passes is "
            f"published; see the gates' sentences there, or edit gates in the configuration"
        )


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--export", required=True, type=Path, help="export folder of a run")
    add_made_by(parser)
    parser.add_argument(
        "--gates",
        type=Path,
        nargs="*",
        default=[],
        help="the record of the gates, if there are any",
    )
    parser.add_argument("--run", help="the run whose export it is, which --gates judges")
    parser.add_argument("--published", required=True, type=Path, help="folder to write")
    parser.add_argument("--record", required=True, type=Path)
    args = parser.parse_args()
    for gates in args.gates:
        check_gates(gates, args.run)
    with partial_folder(args.published) as folder:
        hashes = publish(args.export, folder)
        listing = sha256_listing(hashes)
        check_inputs({args.export.as_posix(): listing}, args.made_by)
        size = sum((folder / name).stat().st_size for name in hashes)
    write_hashed_record(
        args.record,
        "publish_export",
        inputs={args.export.as_posix(): listing}
        | {path.as_posix(): sha256_file(path) for path in args.gates},
        outputs={args.published.as_posix(): listing},
        params={},
        facts={"files": len(hashes), "bytes": size, "manifest_sha256": hashes[MANIFEST]},
        packages=[],
    )
    print(f"published {len(hashes)} files, {size:,} bytes, as {args.published}")
    print(
        f"{MANIFEST} has SHA-256 {hashes[MANIFEST]}: say so where people find the model, they "
        f"check with --expect"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
