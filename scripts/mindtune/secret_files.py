"""Key files: nobody but their owner may read them, and the owner is who runs the program."""

import os
from pathlib import Path

from mindtune.cli import UserError


def check_secret(path: Path) -> None:
    """A UserError if others may read or change a key file, or if it is another account's."""
    status = path.stat()
    if status.st_mode & 0o077:
        raise UserError(
            f"{path} can be read by others; run chmod 600 {path}, and make a new key if they may "
            f"have read it"
        )
    if status.st_uid != os.geteuid():
        raise UserError(
            f"{path} belongs to another account (number {status.st_uid}), which knows the key; "
            f"make one of your own"
        )


def read_secret(path: Path, wanted: str) -> bytes:
    """The first line of a file that only its owner may read."""
    check_secret(path)
    lines = path.read_bytes().splitlines()
    if len(lines) != 1 or not lines[0]:
        raise UserError(
            f"{path} has {len(lines)} lines, and {wanted} needs a file with one; write the file "
            f"again"
        )
    return lines[0]
