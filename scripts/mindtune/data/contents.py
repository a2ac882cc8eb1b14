"""What a file says, to look for a text in it: its bytes, and what is packed in them."""

import json
import mmap
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet


def contents(path: Path) -> Iterator[bytes | mmap.mmap]:
    """What a file says: its bytes, and what is packed in them. A file that cannot be looked into is
    named.
    """
    if path.stat().st_size:
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as content,
        ):
            yield content
    try:
        yield from unpacked(path)
    except (OSError, pyarrow.ArrowException, zipfile.BadZipFile):
        print(f"unread    {path} is no whole {path.suffix} file; look into it yourself")


def unpacked(path: Path) -> Iterator[bytes]:
    """What an archive, a table or a compressed file holds."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in sorted(archive.namelist()))
    elif path.suffix == ".parquet":
        rows = pyarrow.parquet.read_table(path).to_pylist()
        yield json.dumps(rows, ensure_ascii=False, default=str).encode()
    elif path.suffix in (".gz", ".zst", ".bz2", ".lz4"):
        with pyarrow.input_stream(path, compression="detect") as stream:
            yield stream.read()
