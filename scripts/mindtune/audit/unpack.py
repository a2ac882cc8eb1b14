"""Unpack an archive into a new folder: nothing is written before every name and byte is checked,
and nothing outside of that folder.
"""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

from deploy.verify_archive import MANIFEST, check

from mindtune.cli import UserError
from mindtune.records import partial_folder, sha256_file

BLOCK = 1 << 20


def verified(path: Path, expect: str = "") -> dict[str, Any]:
    """The manifest of an archive that is whole; anything else is a UserError."""
    if not path.is_file():
        raise UserError(f"ARCHIVE is {str(path)!r}, which is no file; give an archive of a run")
    if expect and (found := sha256_file(path)) != expect.lower():
        raise UserError(
            f"{path} has SHA-256 {found}, and {expect} was published; this is another archive"
        )
    wrong, manifest = check(path)
    if wrong:
        raise UserError(f"{path}: {wrong[0]}; nothing was unpacked, get a whole copy")
    return manifest


def unpack(path: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """Write the files of a verified archive into a folder that is not there yet, or empty."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"{folder} is there already and not empty; give a new folder as WORKDIR")
    with partial_folder(folder) as place, zipfile.ZipFile(path) as archive:
        for name in [*sorted(manifest["files"]), MANIFEST]:
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = copy(archive, name, target)
            if name != MANIFEST and digest != manifest["files"][name]["sha256"]:
                raise UserError(f"{path} changed while it was unpacked: {name}; nothing is kept")


def copy(archive: zipfile.ZipFile, name: str, target: Path) -> str:
    """Write one member to a file that is not there yet, and return its SHA-256."""
    digest = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with archive.open(name) as reading, open(os.open(target, flags, 0o666), "wb") as writing:
        while block := reading.read(BLOCK):
            digest.update(block)
            writing.write(block)
    return digest.hexdigest()
