"""Put a run's export where people look for it: hard links, checked against the manifest after
linking.

Reads   an export folder
Writes  the published folder and the stage's record
"""

import argparse
from pathlib import Path

from deploy.verify_export import MANIFEST, check
from mindtune.choice import add_choice, chosen_run
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


def export_of(run_name: str, exports: list[Path], made_by: list[Path]) -> tuple[Path, list[Path]]:
    """The export folder of a run, results/runs/{run}/export, and its record, of all of them; or
    the one that there is.
    """
    if len(exports) == 1:
        return exports[0], made_by
    found = [folder for folder in exports if folder.parent.name == run_name]
    if not found:
        raise UserError(
            f"run {run_name} is to be published, and none of the exports is its own "
            f"({', '.join(map(str, exports[:3]))}); name a run that was exported"
        )
    return found[0], [path for path in made_by if path.parent == found[0].parent]


def gates_verdict(gates: Path, run_name: str, must_pass: bool) -> str:
    """The verdict of the gates on a run; if it must pass and does not, a UserError."""
    verdict = read_record(gates)["facts"]["verdicts"].get(run_name, "not among those judged")
    if must_pass and verdict != PASSED:
        raise UserError(
            f"{gates}: run {run_name} is {verdict} by its gates, and only a run that passes is "
            f"published; see the gates' sentences there, edit gates in the configuration, or "
            f"publish it with that verdict on its card: export.require_gates: false"
        )
    return verdict


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__, fromfile_prefix_chars="@")
    parser.add_argument(
        "--exports", required=True, type=Path, nargs="+", help="export folders of the runs"
    )
    add_made_by(parser)
    parser.add_argument(
        "--gates",
        type=Path,
        nargs="*",
        default=[],
        help="the record of the gates, if there are any",
    )
    parser.add_argument(
        "--whatever-the-verdict",
        action="store_true",
        help="publish a run that does not pass its gates, too",
    )
    add_choice(parser)
    parser.add_argument("--published", required=True, type=Path, help="folder to write")
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    chosen = chosen_run(args)
    export, made_by = export_of(chosen, args.exports, args.made_by)
    must_pass = not args.whatever_the_verdict
    verdict = None
    for gates in args.gates:
        verdict = gates_verdict(gates, chosen, must_pass)
    with partial_folder(args.published) as folder:
        hashes = publish(export, folder)
        listing = sha256_listing(hashes)
        check_inputs({export.as_posix(): listing}, made_by)
        size = sum((folder / name).stat().st_size for name in hashes)
    write_hashed_record(
        args.record,
        "publish_export",
        inputs={export.as_posix(): listing}
        | {path.as_posix(): sha256_file(path) for path in (*args.gates, *args.choice)},
        outputs={args.published.as_posix(): listing},
        params={"run": chosen},
        facts={"files": len(hashes), "bytes": size, "manifest_sha256": hashes[MANIFEST]}
        | {"gates": verdict},
        packages=[],
    )
    if verdict:
        print(f"run {chosen} is {verdict} by its gates, as its model card says")
    print(f"published {len(hashes)} files, {size:,} bytes, as {args.published}")
    print(
        f"{MANIFEST} has SHA-256 {hashes[MANIFEST]}: say so where people find the model, they "
        f"check with --expect"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
