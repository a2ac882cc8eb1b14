"""Check who made an export: the signature in it against a public key. Needs no network; verify_export.py says which byte is wrong.

Reads   an export folder and a public key (PEM); writes nothing
"""

import argparse
from pathlib import Path

from mindtune.cli import UserError, run
from verify_export import SIGNATURE


def verify(folder: Path, key: Path) -> None:
    """A UserError unless the folder's signature is that key's, over every file as it is."""
    from model_signing import hashing, verifying

    if not (folder / SIGNATURE).is_file():
        raise UserError(f"{folder} has no {SIGNATURE}; it was exported without export.signing_key")
    # Snakemake leaves marker files in the folders that it makes; they are not part of an export
    ignored = [folder / SIGNATURE, *folder.glob(".snakemake_*")]
    config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    config = config.set_hashing_config(hashing.Config().set_ignored_paths(paths=ignored))
    try:
        config.verify(folder, folder / SIGNATURE)
    except ValueError as error:
        raise UserError(f"{folder} is not what the owner of {key} signed ({error}); do not use it") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="export folder")
    parser.add_argument("--public-key", required=True, type=Path)
    args = parser.parse_args()
    verify(args.folder, args.public_key)
    print(f"OK: signed by the owner of {args.public_key}")


if __name__ == "__main__":
    raise SystemExit(run(main))
