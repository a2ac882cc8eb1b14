"""The list of rows that were erased: by the SHA-256 of a row as it stands in its file, so that the
list does not hold what it erases. `make erase` writes it, fetching leaves such rows out.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from mindtune.cli import UserError

LIST = "config/erased.txt"
LINE = re.compile("([A-Za-z0-9_][A-Za-z0-9_-]*) ([0-9a-f]{64})")


def row_digest(data: bytes) -> str:
    """The name of a row on the list."""
    return hashlib.sha256(data.strip()).hexdigest()


def read_erased(path: Path) -> dict[str, list[str]]:
    """{dataset: digests, sorted} of a list; a line that is none is a UserError."""
    found: dict[str, set[str]] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            if not (match := LINE.fullmatch(line.strip())):
                raise UserError(
                    f"{path} line {number} is {line!r}; expected a dataset's name and a SHA-256, "
                    f"or "
                    f"a comment that starts with #"
                )
            found.setdefault(match[1], set()).add(match[2])
    return {name: sorted(digests) for name, digests in found.items()}


def with_erased(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The configuration, its datasets' `erased` with what the list names added."""
    for name, digests in read_erased(path).items():
        if name in config["datasets"]:
            spec = config["datasets"][name]
            spec["erased"] = sorted({*spec["erased"], *digests})
    return config
