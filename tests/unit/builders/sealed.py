"""Records for tests, with the seal that their stages would give them."""

from pathlib import Path
from typing import Any

from mindtune.records import seal, write_json


def write_sealed(path: Path, stage: str = "a_stage", **parts: Any) -> Path:
    """Write a record of the given parts; the others are empty."""
    record = {
        "stage": stage,
        "inputs": {},
        "outputs": {},
        "params": {},
        "facts": {},
        "env": {},
        **parts,
    }
    write_json(path, record | {"seal": seal(record)})
    return path
