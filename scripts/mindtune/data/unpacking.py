"""The bytes of a data file, unpacked and as UTF-8, mapped into memory.

What a file is, its first bytes say, and not its name. What unpacks to far more than dialogues can
is refused before it fills the disk.
"""

import codecs
import gzip
import io
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mindtune.cli import UserError

BLOCK = 1 << 20
PACKED_BLOCK = 4 << 10  # of Zstandard: at most 128 MB at a time, four bytes being a block of 128 kB
# Dialogues shrink to a third or a tenth. A file that grows more than this is a bomb, or one row
# said over and over.
MOST_RATIO, ALWAYS_ALLOWED = 200, 64 << 20
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# What may stand under a wrong name, by its first bytes
NO_TEXT = {
    b"PK\x03\x04": "a zip archive or an Excel file; unpack it, or save it as CSV",
    b"PAR1": "a Parquet file; name it .parquet",
    b"ARROW1": "an Arrow file; name it .arrow",
    b"BZh": "a bzip2 file; unpack it",
    b"\xfd7zXZ": "an xz file; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"%PDF": "a PDF file; give the text",
    b"SQLite format 3": "an SQLite database; export its rows as JSONL",
}
UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def allowed(packed: int) -> int:
    """Bytes that so many packed bytes may become."""
    return max(ALWAYS_ALLOWED, MOST_RATIO * packed)


def too_large(name: str, packed: int) -> UserError:
    """The refusal of a file that becomes more than that."""
    return UserError(
        f"{name} has {packed:,} bytes and unpacks to more than {allowed(packed):,}, "
        f"{MOST_RATIO} times as many or more; no dialogues shrink so far: unpack it yourself and "
        f"look at it"
    )


@contextmanager
def content_of(path: Path, name: str) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file, unpacked and from UTF-16 to UTF-8; an empty file gives b""."""
    with path.open("rb") as stream, tempfile.TemporaryFile() as plain:
        head = stream.read(16)
        stream.seek(0)
        if head.startswith((GZIP, ZSTANDARD)):
            _unpack(stream, plain, name, path.stat().st_size)
            stream = plain
            stream.seek(0)
            head = stream.read(16)
        for sign, what in NO_TEXT.items():
            if head.startswith(sign):
                raise UserError(f"{name} is {what}")
        if encoding := UTF16.get(head[:2]):
            with tempfile.TemporaryFile() as text:
                _as_utf8(stream, text, encoding, name)
                yield _map(text)
            return
        yield _map(stream)


def _unpack(stream: BinaryIO, plain: BinaryIO, name: str, packed: int) -> None:
    kind = "gz" if stream.peek(2)[:2] == GZIP else "zst"
    blocks = _gzip_blocks(stream) if kind == "gz" else _zstandard_blocks(stream)
    size = 0
    try:
        for block in blocks:
            size += plain.write(block)
            if size > allowed(packed):
                raise too_large(name, packed)
    except (OSError, EOFError) as error:
        raise UserError(f"{name} is not a whole {kind} file ({error}); fetch it again") from error
    plain.flush()


def _gzip_blocks(stream: BinaryIO) -> Iterator[bytes]:
    import zlib

    try:
        with gzip.open(stream) as source:
            while block := source.read(BLOCK):
                yield block
    except zlib.error as error:
        raise EOFError(str(error)) from error


def _zstandard_blocks(stream: BinaryIO) -> Iterator[bytes]:
    """EOFError when the stream ends in the middle of a frame; it may have several frames."""
    import zstandard

    unpacker = zstandard.ZstdDecompressor().decompressobj()
    try:
        while packed := stream.read(PACKED_BLOCK):
            while packed:
                yield unpacker.decompress(packed)
                packed = unpacker.unused_data
                if unpacker.eof:
                    unpacker = zstandard.ZstdDecompressor().decompressobj() if packed else unpacker
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from error
    if not unpacker.eof:
        raise EOFError("it ends in the middle of a frame")


def _as_utf8(stream: BinaryIO, plain: BinaryIO, encoding: str, name: str) -> None:
    """Write the text of a UTF-16 file, without its byte order mark."""
    stream.seek(2)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while block := stream.read(BLOCK):
            plain.write(decoder.decode(block).encode())
        plain.write(decoder.decode(b"", final=True).encode())
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise UserError(
            f"{name} starts as UTF-16 and is none ({error.reason}); save it as UTF-8"
        ) from error
    plain.flush()


def _map(stream: Any) -> mmap.mmap | bytes:
    stream.seek(0, io.SEEK_END)
    if stream.tell() == 0:
        return b""
    # Not closed by hand: a match object of an interrupted reader may still point into the map.
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
