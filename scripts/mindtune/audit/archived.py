"""Look over an archive by the records in it, as mindtune.audit.folder does over a results folder:
a manifest that was rewritten together with a file still contradicts the file's record.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mindtune.audit.folder import AS_RECORDED, CHANGED, MISSING, STALE, UNKNOWN, Finding
from mindtune.records import seal, sha256_listing


def archived_records(path: Path, manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{path: record} of the stages' records in a verified archive."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(manifest["files"]):
            if name.startswith("results/") and name.endswith(".json"):
                try:
                    record = json.loads(archive.read(name))
                except ValueError:
                    continue
                if isinstance(record, dict) and {"stage", "outputs", "inputs"} <= record.keys():
                    found[name] = record
    return found


def hash_in(path: str, manifest: Mapping[str, Any]) -> str | None:
    """The hash that the manifest gives a file, a folder's listing, or what is withheld."""
    files = manifest["files"]
    if path in files:
        return files[path]["sha256"]
    if path in manifest.get("withheld", {}):
        return manifest["withheld"][path]["sha256"]
    inside = {
        name.removeprefix(f"{path}/"): about["sha256"]
        for name, about in files.items()
        if name.startswith(f"{path}/")
    }
    return sha256_listing(inside) if inside else None


def look_over(path: Path, manifest: Mapping[str, Any]) -> list[Finding]:
    """What is to be said of every result in a verified archive."""
    records = archived_records(path, manifest)
    found = {finding.path: finding for finding in findings(records, manifest)}
    named = {made for record in records.values() for made in record["outputs"]}
    for name in manifest["files"]:
        inside = any(name.startswith(f"{folder}/") for folder in named)
        if name.startswith("results/") and name not in found and not inside:
            found[name] = Finding(name, UNKNOWN, "no record names it")
    return sorted(found.values())


def findings(
    records: Mapping[str, Mapping[str, Any]], manifest: Mapping[str, Any]
) -> Iterator[Finding]:
    """Records by their seals, and results by what their records say of them."""
    made = {
        path: digest for record in records.values() for path, digest in record["outputs"].items()
    }
    made |= {name: manifest["files"][name]["sha256"] for name in records}
    for name, record in records.items():
        read = [
            path for path, digest in record["inputs"].items() if made.get(path, digest) != digest
        ]
        if record.get("seal") != seal(record):
            yield Finding(name, CHANGED, "its seal is not that of what it says")
        elif read:
            yield Finding(name, STALE, f"it was made from another {read[0]}")
        else:
            yield Finding(name, AS_RECORDED)
        for path, digest in record["outputs"].items():
            there = hash_in(path, manifest)
            if there is None:
                yield Finding(path, MISSING, f"{name} names it")
            else:
                same = there == digest
                yield Finding(
                    path, AS_RECORDED if same else CHANGED, "" if same else f"{name} says otherwise"
                )
