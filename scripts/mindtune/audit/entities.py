"""Entities of an RO-Crate, and how they name each other."""

import mimetypes
from collections.abc import Mapping
from typing import Any

Entity = dict[str, Any]


# Of endings that Python's own list lacks; all the others of ours are text
TYPES = {".md": "text/markdown", ".jsonl": "application/jsonl", ".yaml": "application/yaml",
    ".cff": "application/yaml",
         ".tsv": "text/tab-separated-values", ".safetensors": "application/octet-stream",
         ".parquet": "application/octet-stream", ".arrow": "application/octet-stream"}  # fmt: skip


def ref(*names: str) -> list[dict[str, str]]:
    """References to other entities."""
    return [{"@id": name} for name in names]


def known(**values: Any) -> Entity:
    """An entity without the properties whose value is unknown; `id` and `type` get their @, and a
    list of one is that one.
    """
    names = {"id": "@id", "type": "@type"}
    return {
        names.get(name, name): value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in values.items()
        if value not in (None, [])
    }


def file_entity(name: str, about: Mapping[str, Any]) -> Entity:
    """A file of the archive."""
    suffix = f".{name.rsplit('.', 1)[-1]}" if "." in name else ""
    kind = TYPES.get(suffix) or mimetypes.types_map.get(suffix, "text/plain")
    size, digest = str(about["bytes"]), about["sha256"]
    return known(
        id=name, type="File", name=name, contentSize=size, sha256=digest, encodingFormat=kind
    )
