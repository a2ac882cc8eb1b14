#!/usr/bin/env python3
"""Choose which export a server serves: a store of exports, each under the start of its manifest's hash, and a link to one of them.

    python3 activate_export.py STORE EXPORT       check a copied export, take it into the store, and point STORE/current at it
    python3 activate_export.py STORE --rollback   point STORE/current at the export that was served before

Needs Python 3.9 and verify_export.py beside it, no package. The links are replaced in one step, so that a server that starts
meanwhile sees the one or the other. Restart the server afterwards.

Reads   the export, STORE
Writes  STORE/HASH/ (the export, moved), STORE/current, STORE/previous
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from verify_export import MANIFEST, check, sha256


class Refused(Exception):
    """What cannot be done; the message says why."""


def checked(folder: Path) -> Path:
    """The folder, if every byte of it is as exported."""
    wrong, _, _ = check(folder)
    if wrong:
        raise Refused(f"{folder} is not what was exported: {wrong[0]}")
    return folder


def target(link: Path) -> str | None:
    """The name of the folder that a link in the store points at."""
    return os.readlink(link) if link.is_symlink() else None


def point(link: Path, name: str) -> None:
    """Let a link point at a folder of the store, in one step."""
    fresh = link.with_name(link.name + ".new")
    if fresh.is_symlink():
        fresh.unlink()
    fresh.symlink_to(name)
    os.replace(fresh, link)


def activate(store: Path, export: Path) -> str:
    """Take an export into the store and serve it; return its name there."""
    name = sha256(checked(export) / MANIFEST)[:16]
    store.mkdir(parents=True, exist_ok=True)
    if not (store / name).exists():
        os.rename(export, store / name)
    return switch(store, name)


def switch(store: Path, name: str) -> str:
    """Point `current` at a folder of the store, and `previous` at what was current."""
    before = target(store / "current")
    if before and before != name:
        point(store / "previous", before)
    point(store / "current", name)
    return name


def rollback(store: Path) -> str:
    """Serve what was served before, if it is still whole; return its name."""
    name = target(store / "previous")
    if not name:
        raise Refused(f"{store} has no previous export to go back to")
    checked(store / name)
    return switch(store, name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, metavar="STORE")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("export", type=Path, metavar="EXPORT", nargs="?", help="a copied export, on the store's disk")
    choice.add_argument("--rollback", action="store_true", help="go back to the export before")
    args = parser.parse_args()
    try:
        name = rollback(args.store) if args.rollback else activate(args.store, args.export)
    except (Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.store / 'current'} is {name}; restart the server")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
