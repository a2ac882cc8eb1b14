"""Check that an export is complete and who made it: every file against the manifest, and the
signature against a public key, or against the name in a certificate of an authority.

    verify_signature.py DIR --public-key FILE
    verify_signature.py DIR --authority FILE --identity NAME

NAME is the e-mail address or the URI that the authority wrote into the signer's certificate. With
--revoked nothing passes whose manifest.json or key is on that list.

Needs no network. Ends with one verdict: OK, or what is wrong.

Reads   an export folder, a public key or an authority's certificates (PEM), the list of what is
        revoked; writes nothing
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from verify_export import (
    MARKER,
    SIGNATURE,
    check,
    check_expected,
    check_revoked,
    digest_word,
    read_revoked,
    shown,
)

MOST = 16 << 20  # bytes of a signature, which lists every file


def check_public_key(key: Path) -> str:
    """The key's SHA-256, over its PEM form; a UserError unless the file holds a public key."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from mindtune.export.certificates import key_hash

    try:
        return key_hash(load_pem_public_key(key.read_bytes()))
    except ValueError:
        raise UserError(
            f"{key} is no public key (PEM); give the file that the author handed out"
        ) from None


def check_signature(folder: Path, verifier: Any, signer: str) -> None:
    """A UserError unless the folder's signature passes the verifier, over every file as it is."""
    from model_signing import hashing

    signature = folder / SIGNATURE
    hashed = hashing.Config().set_ignored_paths(
        paths=[signature, folder / MARKER], ignore_git_paths=False
    )
    try:
        verifier.set_hashing_config(hashed).verify(folder, signature)
    except (
        Exception
    ) as error:  # a signature that somebody wrote makes the library fail in many ways
        reason = shown(error) or type(error).__name__
        raise UserError(f"{folder} is not what {signer} signed ({reason}); do not use it") from None


def check_certificate(folder: Path, authority: Path, identity: str) -> str:
    """The SHA-256 of the signer's key; a UserError unless a certificate of the authority names the
    signer so.
    """
    from cryptography import x509
    from mindtune.export.certificates import (
        check_in_force,
        key_hash,
        signer_names,
        signing_certificates,
    )
    from model_signing import verifying

    try:
        trusted = x509.load_pem_x509_certificates(authority.read_bytes())
    except ValueError:
        raise UserError(
            f"{authority} holds no certificate (PEM); give the file of the authority"
        ) from None
    verifier = verifying.Config().use_certificate_verifier(certificate_chain=[authority])
    check_signature(folder, verifier, f"somebody whom {authority} vouches for")
    chain = signing_certificates(folder / SIGNATURE)
    try:
        check_in_force(chain, trusted)
    except ValueError as error:
        raise UserError(
            f"{folder} cannot be trusted any more: {shown(error)}; ask for a new signature, by a "
            f"certificate that holds today"
        ) from None
    names = signer_names(chain[0])
    if identity not in names:
        raise UserError(
            f"{folder} was signed by {shown(', '.join(names) or 'a signer without a name')}, and "
            f"{shown(identity)} was expected; do not use it"
        )
    return key_hash(chain[0].public_key())


def check_key(folder: Path, key: Path) -> str:
    """The key's SHA-256; a UserError unless its owner signed the folder."""
    from model_signing import verifying

    verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    check_signature(folder, verifier, f"the owner of {key}")
    return check_public_key(key)


def check_files(folder: Path, expect: str | None, revoked: Path | None) -> tuple[int, int]:
    """(number of files, bytes) of a folder; a UserError unless it is complete, the expected one,
    not revoked, and has a signature of bearable size.
    """
    # the library leaves files of git, links and empty folders out of what it compares
    wrong, files, size = check(folder)
    if not wrong and expect:
        wrong = check_expected(folder, expect)
    if wrong:
        raise UserError(
            f"{folder} is not what was exported ({wrong[0]}, {len(wrong)} in all); copy it again"
        )
    if revoked and (wrong := check_revoked(folder, revoked)):
        raise UserError(f"{folder}: {wrong[0]}; do not use it")
    signature = folder / SIGNATURE
    if not signature.is_file():
        raise UserError(f"{folder} has no {SIGNATURE}; it was exported without export.signing_key")
    if signature.stat().st_size > MOST:
        raise UserError(
            f"{signature} has {signature.stat().st_size} bytes, and no signature has so many; do "
            f"not use it"
        )
    return files, size


def verify(
    folder: Path,
    key: Path | None,
    authority: Path | None = None,
    identity: str = "",
    expect: str | None = None,
    revoked: Path | None = None,
) -> str:
    """What may be said of a folder; a UserError unless it is complete, not revoked, and signed by
    the owner of a key, or by whom an authority's certificate names so.
    """
    if key:
        check_public_key(key)
    files, size = check_files(folder, expect, revoked)
    if key:
        used, signer = check_key(folder, key), f"the owner of {key}"
    else:
        used = check_certificate(folder, authority, identity)
        signer = f"{shown(identity)}, by a certificate of {authority}"
    if revoked and used in read_revoked(revoked):
        raise UserError(
            f"{revoked} lists the SHA-256 of the key that signed {folder}: its owner took it back; "
            f"do not use the export"
        )
    return f"OK: {files} files, {size} bytes, signed by {signer}"


def parse_args() -> argparse.Namespace:
    """Command line: a key, or an authority and a name."""
    parser = argument_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="export folder")
    parser.add_argument("--public-key", type=Path, metavar="FILE")
    parser.add_argument("--authority", type=Path, metavar="FILE", help="its certificates (PEM)")
    parser.add_argument("--identity", metavar="NAME", help="e-mail address or URI of the signer")
    parser.add_argument(
        "--expect",
        type=digest_word,
        metavar="SHA256",
        help="of manifest.json, as its author published it",
    )
    parser.add_argument(
        "--revoked", type=Path, metavar="FILE", help="SHA-256 of manifests and keys to refuse"
    )
    args = parser.parse_args()
    if bool(args.public_key) == bool(args.authority) or bool(args.authority) != bool(args.identity):
        parser.error("give --public-key, or --authority and --identity")
    return args


def main() -> None:
    args = parse_args()
    try:
        import model_signing  # noqa: F401
    except ImportError:
        raise UserError(
            "the package model-signing is not installed here; run this program with the core "
            "environment's Python"
        ) from None
    print(
        verify(
            args.folder, args.public_key, args.authority, args.identity, args.expect, args.revoked
        )
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
