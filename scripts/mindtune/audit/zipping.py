"""Write an archive: equal contents give equal bytes, and its last bytes are the hash of the
others.
"""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from deploy.verify_archive import MANIFEST, SEAL

from mindtune.records import partial, sha256_file, to_json

Content = bytes | Path
TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
PACKED = (".safetensors", ".png", ".zip", ".parquet")  # no smaller when packed again
BLOCK = 1 << 20


def entry(content: Content) -> dict[str, object]:
    """Size in bytes and SHA-256 of a file's content."""
    if isinstance(content, bytes):
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {"bytes": content.stat().st_size, "sha256": sha256_file(content)}


def write_archive(path: Path, files: Mapping[str, Content], about: Mapping[str, object]) -> None:
    """Write `files`, {name: bytes, or the path of a file}, and the manifest with `about`, whole or
    not at all.
    """
    manifest = {**about, "files": {name: entry(content) for name, content in files.items()}}
    members = {**files, MANIFEST: (to_json(manifest) + "\n").encode()}
    with partial(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name in sorted(members):
                add(archive, name, members[name])
            archive.comment = SEAL + b"0" * 64
        seal(temporary)


def add(archive: zipfile.ZipFile, name: str, content: Content) -> None:
    """One member: a plain file of mode 644, without a time."""
    info = zipfile.ZipInfo(name, TIME)
    info.create_system, info.external_attr = 3, 0o100644 << 16
    info.compress_type = zipfile.ZIP_STORED if name.endswith(PACKED) else zipfile.ZIP_DEFLATED
    if isinstance(content, bytes):
        archive.writestr(info, content)
        return
    info.file_size = content.stat().st_size
    with open(content, "rb") as reading, archive.open(info, "w") as writing:
        while block := reading.read(BLOCK):
            writing.write(block)


def seal(path: Path) -> None:
    """Put the hash of all bytes before the comment into the comment's last 64 bytes."""
    digest, left = hashlib.sha256(), os.path.getsize(path) - len(SEAL) - 64
    with open(path, "r+b") as stream:
        while left:
            block = stream.read(min(BLOCK, left))
            digest.update(block)
            left -= len(block)
        stream.seek(-64, os.SEEK_END)
        stream.write(digest.hexdigest().encode())
