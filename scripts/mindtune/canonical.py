"""Equal settings as equal values, however they were written: what a rule gets in its params must
not change with the spelling.

config/schema.yaml says which spellings are equal: of a `number` 1 and 1.0; of a text with `format:
path` ./a and a/; of one with `format: size` 0.05GB and 50MB; of a list with `unordered: true` any
order.
"""

import posixpath
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

UNITS = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3}


def canonical(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value that the schema allows, in the one spelling of all that mean the same."""
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        other = rest if isinstance(rest, dict) else {}
        return {name: canonical(part, known.get(name, other)) for name, part in value.items()}
    if isinstance(value, list):
        parts = [canonical(part, schema.get("items", {})) for part in value]
        return sorted(parts) if schema.get("unordered") else parts
    if isinstance(value, int) and not isinstance(value, bool) and takes(schema, "number"):
        return float(value)
    if isinstance(value, str) and schema.get("format") == "path":
        return posixpath.normpath(value)
    if isinstance(value, str) and schema.get("format") == "size":
        return size(value)
    return value


def takes(schema: Mapping[str, Any], name: str) -> bool:
    """Whether the schema of a leaf allows a type."""
    types = schema.get("type", [])
    return name == types or name in types


def size(text: str) -> str:
    """A number of bytes in decimal units, by the largest unit of which it is a whole number: 0.05GB
    and 50 mb are 50MB.
    """
    words = text.strip().upper()
    count = int(Decimal(words[:-2].strip()) * UNITS[words[-2:]])
    unit = next((unit for unit, number in UNITS.items() if count % number == 0), "")
    return f"{count // UNITS[unit]}{unit}" if unit and count else text.strip()
