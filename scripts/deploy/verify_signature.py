"""Check that an export is complete and who made it: every file against the manifest, and the
signature against a public key.

Needs no network. Ends with one verdict: OK, or what is wrong.

Reads   an export folder and a public key (PEM); writes nothing
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from verify_export import MARKER, SIGNATURE, check, check_expected, digest_word, shown

MOST = 16 << 20  # bytes of a signature, which lists every file


def check_public_key(key: Path) -> None:
    """A UserError unless a file holds a public key."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        load_pem_public_key(key.read_bytes())
    except ValueError:
        raise UserError(
            f"{key} is no public key (PEM); give the file that the author handed out"
        ) from None


def check_signature(folder: Path, key: Path) -> None:
    """A UserError unless the folder's signature is that key's, over every file as it is."""
    from model_signing import hashing, verifying

    signature = folder / SIGNATURE
    if not signature.is_file():
        raise UserError(f"{folder} has no {SIGNATURE}; it was exported without export.signing_key")
    if signature.stat().st_size > MOST:
        raise UserError(
            f"{signature} has {signature.stat().st_size} bytes, and no signature has so many; do "
            f"not use it"
        )
    hashed = hashing.Config().set_ignored_paths(
        paths=[signature, folder / MARKER], ignore_git_paths=False
    )
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=key).set_hashing_config(
            hashed
        ).verify(folder, signature)
    except (
        Exception
    ) as error:  # a signature that somebody wrote makes the library fail in many ways
        reason = shown(error) or type(error).__name__
        raise UserError(
            f"{folder} is not what the owner of {key} signed ({reason}); do not use it"
        ) from None


def verify(folder: Path, key: Path, expect: str | None = None) -> tuple[int, int]:
    """(number of files, bytes) of a folder; a UserError unless it is complete, and signed by the
    owner of a key.
    """
    check_public_key(key)
    # the library leaves files of git, links and empty folders out of what it compares
    wrong, files, size = check(folder)
    if not wrong and expect:
        wrong = check_expected(folder, expect)
    if wrong:
        raise UserError(
            f"{folder} is not what was exported ({wrong[0]}, {len(wrong)} in all); copy it again"
        )
    check_signature(folder, key)
    return files, size


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="export folder")
    parser.add_argument("--public-key", required=True, type=Path)
    parser.add_argument(
        "--expect",
        type=digest_word,
        metavar="SHA256",
        help="of manifest.json, as its author published it",
    )
    args = parser.parse_args()
    try:
        import model_signing  # noqa: F401
    except ImportError:
        raise UserError(
            "the package model-signing is not installed here; run this program with the core "
            "environment's Python"
        ) from None
    files, size = verify(args.folder, args.public_key, args.expect)
    print(f"OK: {files} files, {size} bytes, signed by the owner of {args.public_key}")


if __name__ == "__main__":
    raise SystemExit(run(main))
