"""What a file says, to look for a text in it: its bytes, and what is packed in them."""

import json
import mmap
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

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
        yield from unpacked(path, path.suffix)
    except (OSError, pyarrow.ArrowException, zipfile.BadZipFile):
        print(f"unread    {path} is no whole {path.suffix} file; look into it yourself")


def unpacked(source: Path | BinaryIO, suffix: str) -> Iterator[bytes]:
    """What an archive, a table or a compressed file holds; of an archive its tables too."""
    if suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            for name in sorted(archive.namelist()):
                content = archive.read(name)
                yield content
                if name.endswith(".parquet"):
                    yield from unpacked(BytesIO(content), ".parquet")
    elif suffix == ".parquet":
        rows = pyarrow.parquet.read_table(source).to_pylist()
        yield json.dumps(rows, ensure_ascii=False, default=str).encode()
    elif suffix in (".gz", ".zst", ".bz2", ".lz4"):
        with pyarrow.input_stream(source, compression="detect") as stream:
            yield stream.read()
