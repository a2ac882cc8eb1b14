"""The parts of a run as a bill of materials, CycloneDX 1.7 JSON: data sets, base model, adapter,
export, and the packages of the environments, with the hashes that the records hold.

https://cyclonedx.org/docs/1.7/json/. What a record does not say is left out.
"""

import re
from collections.abc import Mapping
from typing import Any

from mindtune.mixture import sets_of

Component = dict[str, Any]
Records = Mapping[str, Mapping[str, Any]]
MODELS = ("results/base/model", "results/runs/{run}/adapter", "results/runs/{run}/export")


def component(kind: str, name: str, **more: Any) -> Component:
    """A component without the parts that are not known."""
    found = {"type": kind, "name": name, "bom-ref": f"{kind}:{name}", **more}
    return {key: value for key, value in found.items() if value}


def hashed(digest: str | None) -> list[dict[str, str]]:
    """A SHA-256 as CycloneDX has it; of a folder, of its listing (see the archive's manifest)."""
    return [{"alg": "SHA-256", "content": digest}] if digest else []


def licensed(name: str | None) -> list[dict[str, Any]]:
    """A licence by the name that the configuration gives it."""
    return [{"license": {"name": name}}] if name else []


def digest_of(records: Records, path: str) -> str | None:
    """The hash that some record gives an output."""
    return next((r["outputs"][path] for r in records.values() if path in r["outputs"]), None)


def packages(freezes: Mapping[str, str]) -> list[Component]:
    """The packages of all environments, each version once."""
    found: dict[str, Component] = {}
    for text in freezes.values():
        for line in text.splitlines():
            name, _, version = line.partition("==")
            plain = re.sub(r"[-_.]+", "-", name).lower()
            purl = f"pkg:pypi/{plain}@{version.replace('+', '%2B')}"
            found[purl] = component("library", name, version=version, purl=purl) | {"bom-ref": purl}
    return [found[purl] for purl in sorted(found)]


def dataset(name: str, spec: Mapping[str, Any], records: Records) -> Component:
    """A data set that the run trained on."""
    return component(
        "data", spec.get("id") or name, version=spec.get("revision"),
        licenses=licensed(spec.get("licence")),
        hashes=hashed(digest_of(records, f"results/data/{name}/raw")),
        data=[{"type": "dataset", "name": name}],
    )  # fmt: skip


def bill(
    run: str, config: Mapping[str, Any], records: Records, freezes: Mapping[str, str]
) -> Component:
    """The whole bill; it has no serial number and no time, so that equal runs give equal bytes."""
    model, sets = config["model"], sets_of(config["runs"][run])
    base, adapter, export = (digest_of(records, path.format(run=run)) for path in MODELS)
    data = [dataset(name, config["datasets"][name], records) for name in sets]
    given = [part["bom-ref"] for part in data]
    told = component(
        "machine-learning-model", model.get("id") or "base model", version=model.get("revision"),
        licenses=licensed(model.get("licence")), hashes=hashed(base),
    )  # fmt: skip
    card = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "datasets": [{"ref": ref} for ref in given],
        }
    }
    made = [
        component("machine-learning-model", f"{run} {what}", hashes=hashed(digest), modelCard=card)
        for what, digest in (("adapter", adapter), ("export", export))
        if digest
    ]
    inside = [part["bom-ref"] for part in made]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.7", "version": 1,
        "metadata": {"component": {"type": "application", "name": "MindTune", "bom-ref": "run"}},
        "components": [*data, told, *made, *packages(freezes)],
        "dependencies": [
            {"ref": "run", "dependsOn": inside},
            *({"ref": ref, "dependsOn": [*given, told["bom-ref"]]} for ref in inside),
        ],
    }  # fmt: skip
