"""What a source of data or of a model is called, and what counts as a licence of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

HUBS = ("huggingface", "modelscope")
NO_LICENCE = ("", "unknown", "none", "not stated", "unlicensed", "n/a", "?")


def is_licence(licence: str | None) -> bool:
    """False for a word that says that there is none, or that nobody knows it."""
    return bool(licence) and licence.strip().lower() not in NO_LICENCE


def source_name(spec: Mapping[str, Any]) -> str:
    """What a model or a dataset is called: its hub id and revision, or where it came from."""
    if spec.get("source") in HUBS:
        return f"{spec['id']} ({spec['source']}, revision {spec.get('revision') or 'not pinned'})"
    name = spec.get("id") or Path(str(spec.get("path"))).name
    return f"{name} ({spec.get('source', 'unknown')})"
