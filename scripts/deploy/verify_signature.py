"""Check that an export is complete and who made it: every file against the manifest, and the
signature against a public key, the name in a certificate of an authority, or a login.

    verify_signature.py DIR --public-key FILE
    verify_signature.py DIR --authority FILE --identity NAME
    verify_signature.py DIR --issuer URL --identity NAME

NAME is the e-mail address or the URI that the authority wrote into the signer's certificate, or by
which URL, a provider of logins, knew who signed with Sigstore (--sigstore: at which instance). With
--commit only what the signer made from that commit of the code passes. With --revoked nothing
passes whose manifest.json or key is on that list.

Needs no network. Ends with one verdict: OK, or what is wrong.

Reads   an export folder, a public key or an authority's certificates (PEM), the list of what is
        revoked; writes nothing
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from verify_export import (
    SIGNATURE,
    check,
    check_expected,
    check_revoked,
    digest_word,
    read_revoked,
    shown,
)

MOST = 16 << 20  # bytes of a signature, which lists every file


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
    commit: str | None = None,
    issuer: str | None = None,
    sigstore: Path | None = None,
) -> str:
    """What may be said of a folder; a UserError unless it is complete, not revoked, and signed by
    the owner of a key, or by whom an authority's certificate names so.
    """
    from mindtune.export import verifying as who

    if key:
        who.check_public_key(key)
    files, size = check_files(folder, expect, revoked)
    if key:
        (used, origin), signer = who.check_key(folder, key), f"the owner of {key}"
    elif issuer:
        used, origin = who.check_login(folder, identity, issuer, sigstore)
        signer = f"{shown(identity)}, as {shown(issuer)} knows it"
    else:
        used, origin = who.check_certificate(folder, authority, identity)
        signer = f"{shown(identity)}, by a certificate of {authority}"
    if revoked and used in read_revoked(revoked):
        raise UserError(
            f"{revoked} lists the SHA-256 of the key that signed {folder}: its owner took it back; "
            f"do not use the export"
        )
    stated = who.check_origin(folder, origin, commit)
    return f"OK: {files} files, {size} bytes, signed by {signer}{stated}"


def commit_word(text: str) -> str:
    """A commit on the command line: whole, since a short one names several."""
    if not re.fullmatch("[0-9a-fA-F]{40}|[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no commit, which has 40 or 64 hexadecimal digits"
        )
    return text


def parse_args() -> argparse.Namespace:
    """Command line: a key, or an authority and a name."""
    parser = argument_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="export folder")
    parser.add_argument("--public-key", type=Path, metavar="FILE")
    parser.add_argument("--authority", type=Path, metavar="FILE", help="its certificates (PEM)")
    parser.add_argument("--issuer", metavar="URL", help="who knows the signer by that name")
    parser.add_argument(
        "--sigstore",
        type=Path,
        metavar="FILE",
        help="trust of an instance that is not the public one",
    )
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
    parser.add_argument(
        "--commit",
        type=commit_word,
        metavar="HASH",
        help="from which the signer has to have made it, without uncommitted changes",
    )
    args = parser.parse_args()
    if sum(map(bool, (args.public_key, args.authority, args.issuer))) != 1 or bool(
        args.public_key
    ) == bool(args.identity):
        parser.error("give --public-key, or --identity and --authority, or --identity and --issuer")
    if args.sigstore and not args.issuer:
        parser.error("--sigstore goes with --issuer")
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
            args.folder,
            args.public_key,
            args.authority,
            args.identity,
            args.expect,
            args.revoked,
            args.commit,
            args.issuer,
            args.sigstore,
        )
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
