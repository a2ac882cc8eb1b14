"""The hashes of the files and folders that records name, each file read once."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.records import list_files, sha256_file, sha256_listing


@dataclass
class Hasher:
    """SHA-256 of files, each read once: `known` is {path: [size, times of change in ns, hash]} of
    files that need not be read again.
    """

    known: dict[str, list[Any]] = field(default_factory=dict)
    found: dict[str, list[Any]] = field(default_factory=dict)
    read: int = 0

    def prepare(self, paths: Iterable[Path]) -> None:
        """Hash files, several at a time; of files that are hard links of each other one is read."""
        waiting: dict[tuple[int, int], list[tuple[str, list[Any]]]] = {}
        for path in paths:
            about = os.stat(path)
            sign = [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
            name = path.as_posix()
            if self.known.get(name, [])[:3] == sign:
                self.found[name] = self.known[name]
            else:
                waiting.setdefault((about.st_dev, about.st_ino), []).append((name, sign))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            hashes = pool.map(lambda same: sha256_file(same[0][0]), waiting.values())
            for same, digest in zip(waiting.values(), hashes, strict=True):
                self.found |= {name: [*sign, digest] for name, sign in same}
        self.read += len(waiting)

    def files(self, folder: str) -> dict[str, str]:
        """{name: SHA-256} of a folder's files."""
        return {name: self.found[f"{folder}/{name}"][-1] for name in list_files(folder)}

    def hash(self, path: str) -> str:
        """Hash of a file or of a folder, as records have it."""
        return sha256_listing(self.files(path)) if os.path.isdir(path) else self.found[path][-1]


def files_of(path: str) -> list[Path]:
    """The files of a folder, or the file itself; none if it is not there."""
    if os.path.isdir(path):
        return [Path(path, name) for name in list_files(path)]
    return [Path(path)] if os.path.exists(path) else []
