#!/usr/bin/env python3
"""Choose which export a server serves: a store of exports, each under the start of its manifest's
hash, and a link to one of them.

    python3 activate_export.py STORE EXPORT       check a copied export, take it into the store, and
                                                  point STORE/current at it
    python3 activate_export.py STORE --rollback   point STORE/current at the export that was served
                                                  before

Needs Python 3.9 and verify_export.py beside it, no package. The links are replaced in one step, so
that a server that starts meanwhile sees the one or the other. Restart the server afterwards.

With --expect only the export whose manifest.json has that SHA-256 is served, with --public-key
only one that is signed by the owner of that key, with --authority and --identity only one of whom
the authority's certificate names so, with --issuer and --identity only one of whom a provider of
logins knows by that name. The last three need verify_signature.py beside this program, and
a Python with the package model-signing (--python). With --revoked no export is served whose
manifest, or whose signer's key, is on that list.

Reads   the export, STORE
Writes  STORE/HASH/ (the export, moved), STORE/current, STORE/previous
"""

import sys

# Python's own modules before those in this program's folder
if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    sys.path.append(sys.path.pop(0))

import argparse
import os
import re
import subprocess
from pathlib import Path

from verify_export import MANIFEST, check, check_expected, check_revoked, digest_word, sha256, shown


class Refused(Exception):
    """What cannot be done; the message says why."""


class Demand:
    """What is asked of an export before it is served."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.expect, self.revoked, self.python = args.expect, args.revoked, args.python
        signer = {
            f"--{name.replace('_', '-')}": getattr(args, name)
            for name in ("public_key", "authority", "identity", "issuer", "sigstore")
        }
        self.signer = [f"{flag}={value}" for flag, value in signer.items() if value]

    def checked(self, folder: Path) -> Path:
        """The folder, if every byte of it is as exported, by whom is asked for."""
        if folder.is_symlink():
            raise Refused(
                f"{shown(folder)} is a link; give the folder itself, which is moved into the store"
            )
        wrong, _, _ = check(folder)
        if not wrong and self.expect:
            wrong = check_expected(folder, self.expect)
        if wrong:
            raise Refused(f"{shown(folder)} is not what was exported: {wrong[0]}")
        if self.revoked and (wrong := check_revoked(folder, self.revoked)):
            raise Refused(f"{shown(folder)} is not served: {wrong[0]}")
        if self.signer:
            self.check_signature(folder)
        return folder

    def check_signature(self, folder: Path) -> None:
        """Refuse a folder that is not signed by whom is demanded, or whose signature cannot be
        checked.
        """
        program = Path(__file__).resolve().with_name("verify_signature.py")
        revoked = [f"--revoked={self.revoked}"] if self.revoked else []
        words = [self.python, str(program), *self.signer, *revoked, "--", str(folder)]
        done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
            raise Refused(
                f"the signature was not accepted: {shown(said.replace('error: ', '', 1))}"
            )


def target(link: Path) -> "str | None":
    """The name of the folder that a link in the store points at."""
    return os.readlink(link) if link.is_symlink() else None


def activate(store: Path, export: Path, demand: Demand) -> str:
    """Take an export into the store and serve it; return its name there."""
    name = sha256(demand.checked(export) / MANIFEST)[:16]
    store.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(store / name):
        demand.checked(store / name)  # a copy that was taken in long ago
        return switch(store, name)
    os.rename(export, store / name)
    try:
        return switch(store, name)
    except OSError:
        os.rename(store / name, export)  # so that the same command can be given again
        raise


def switch(store: Path, name: str) -> str:
    """Point `current` at a folder of the store, and `previous` at what was current, each in one
    step. What needs room on the disk comes before the first of them.
    """
    before = target(store / "current")
    aims = {"previous": before} if before and before != name else {}
    aims["current"] = name
    for link, aim in aims.items():
        fresh = store / f"{link}.new"
        if fresh.is_symlink():
            fresh.unlink()
        fresh.symlink_to(aim)
    for link in aims:
        os.replace(store / f"{link}.new", store / link)
    return name


def rollback(store: Path, demand: Demand) -> str:
    """Serve what was served before, if it is still whole; return its name."""
    name = target(store / "previous")
    if not name:
        raise Refused(f"{shown(store)} has no previous export to go back to")
    if not re.fullmatch("[0-9a-f]{16}", name):
        raise Refused(
            f"{shown(store / 'previous')} points at {shown(name)}, which is no export of the "
            f"store; remove it"
        )
    demand.checked(store / name)
    return switch(store, name)


def add_signer(parser: argparse.ArgumentParser) -> None:
    """The flags that say who must have signed."""
    parser.add_argument(
        "--public-key", type=Path, metavar="FILE", help="of whoever must have signed"
    )
    parser.add_argument("--authority", type=Path, metavar="FILE", help="its PEM, for --identity")
    parser.add_argument("--identity", metavar="NAME", help="of whoever must have signed")
    parser.add_argument("--issuer", metavar="URL", help="who knows the signer, for --identity")
    parser.add_argument("--sigstore", type=Path, metavar="FILE", help="of one's own, for --issuer")


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, metavar="STORE")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument(
        "export",
        type=Path,
        metavar="EXPORT",
        nargs="?",
        help="a copied export, on the store's disk",
    )
    choice.add_argument("--rollback", action="store_true", help="go back to the export before")
    parser.add_argument(
        "--expect",
        type=digest_word,
        metavar="SHA256",
        help="of manifest.json, as its author published it",
    )
    add_signer(parser)
    parser.add_argument(
        "--revoked", type=Path, metavar="FILE", help="SHA-256 of manifests and keys to refuse"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="that has model-signing, for signatures"
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    demand = Demand(args)
    try:
        if args.rollback:
            name = rollback(args.store, demand)
        else:
            name = activate(args.store, args.export, demand)
    except (Refused, OSError) as error:
        said = error if isinstance(error, Refused) else shown(error)
        print(f"error: {said}", file=sys.stderr)
        return 1
    print(f"{shown(args.store / 'current')} is {name}; restart the server")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
