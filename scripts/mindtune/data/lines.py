"""The rows of a JSONL file by number, read from the file when asked for, by several processes at a
time if need be.
"""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from mindtune.cli import UserError

# A piece of work for one process: large enough to hide its hand-over, small enough to bound memory.
PIECE_ROWS, PIECE_BYTES = 400, 4 << 20


class Lines:
    """A file that this workflow wrote; it must not change meanwhile. In memory are only 8 bytes a
    line.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.stream = path, path.open("rb")
        self.starts = array("Q", [0])
        for line in self.stream:
            self.starts.append(self.starts[-1] + len(line))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def raw(self, number: int) -> bytes:
        """The line with its line end. Numbers count from 0."""
        start, end = self.starts[number : number + 2]
        return os.pread(self.stream.fileno(), end - start, start)

    def row(self, number: int) -> dict[str, Any]:
        """The line's JSON value; a torn line is a UserError that names it."""
        try:
            return orjson.loads(self.raw(number))
        except orjson.JSONDecodeError as error:
            raise UserError(
                f"{self.path} line {number + 1} is not JSON ({error}); delete the file and run "
                f"again"
            ) from error

    def pieces(self) -> Iterator[range]:
        """The numbers of all lines, cut into pieces of work."""
        start = 0
        for end in range(1, len(self) + 1):
            size = self.starts[end] - self.starts[start]
            if end - start == PIECE_ROWS or size >= PIECE_BYTES or end == len(self):
                yield range(start, end)
                start = end
