"""What a judge was asked and what it answered, kept while it comes in: killed at any point, an
answer that came in is never asked for again.

state/judge/{key}.jsonl   a line before a request leaves, and a line when its answer is there. The
key changes with the judge (address, model, longest answer); a line's own key with the messages.
A request without an answer may have been paid for, so its highest price counts as spent.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError


def lines_of(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(offset, length, row) of the whole lines of a store; a torn or damaged one ends it."""
    place = 0
    with open(path, "rb") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except ValueError:
                return
            if not line.endswith(b"\n") or not isinstance(row, dict):
                return
            yield place, len(line), row
            place += len(line)


def money(row: Mapping[str, Any]) -> float:
    """What a line of a store adds to what was spent."""
    if "asked" in row:
        return row["most"]
    if "refused" in row:
        return -row["most"]
    return row["cost"] - row["most"]


def spent_in(folder: Path) -> float:
    """What all judging in a folder of stores cost, at most, at the prices of its time."""
    return sum(money(row) for path in sorted(folder.glob("*.jsonl")) for *_, row in lines_of(path))


class JudgeStore:
    """One judge's answers by request key, on disk; in memory are only their places."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.stream = open(path, "a+b", buffering=0)  # noqa: SIM115 - open as long as its lock
        try:
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another judging writes {path}; wait until it ends, then run again"
            ) from None
        self.places: dict[str, tuple[int, int]] = {}
        self.open: dict[str, float] = {}
        self.spent = 0.0
        self.lost = 0
        whole = 0
        for place, length, row in lines_of(path):
            self.note(row, place, length)
            whole = place + length
        if whole < path.stat().st_size:
            os.truncate(path, whole)
        self.end = whole
        self.lost = len(self.open)  # asked when a run was killed

    def note(self, row: Mapping[str, Any], place: int, length: int) -> None:
        """Take a line into account."""
        self.spent += money(row)
        if "asked" in row:
            self.open[row["asked"]] = row["most"]
        elif "refused" in row:
            self.open.pop(row["refused"], None)
        else:
            self.open.pop(row["key"], None)
            self.places[row["key"]] = (place, length)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a line; it is in the file when this returns."""
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        self.stream.write(line)
        self.note(row, self.end, len(line))
        self.end += len(line)

    def asks(self, key: str, most: float) -> None:
        """A request leaves, which costs at most this."""
        self.write({"asked": key, "most": most})

    def refused(self, key: str, most: float) -> None:
        """The server refused a request, so nothing was paid for it."""
        self.write({"refused": key, "most": most})

    def answered(self, key: str, answer: Mapping[str, Any], cost: float, most: float) -> None:
        """A request has its answer, and its price is known."""
        self.write({"key": key, "answer": dict(answer), "cost": cost, "most": most})

    def __contains__(self, key: str) -> bool:
        return key in self.places

    def get(self, key: str) -> dict[str, Any]:
        """The answer to a request."""
        place, length = self.places[key]
        return json.loads(os.pread(self.stream.fileno(), length, place))["answer"]

    def close(self) -> None:
        """Let another process write."""
        self.stream.close()
