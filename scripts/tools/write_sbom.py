"""List every package that the environments are built from, as a software bill of materials
(CycloneDX 1.6): `make sbom`.

A component is a package in one version; its hashes are those of the files that may be installed as
it, and its properties name the locks that pin it. Equal locks give equal bytes: there is no date,
and the serial number is made from the content.

Reads   envs/*.lock, envs/*.torch, envs/build.txt, CITATION.cff
Writes  one JSON file
"""

import hashlib
import re
import sys
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.environments import ROOT
from mindtune.records import to_json, write_text

PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)(?: ; [^\\]+?)?\s*\\?")
HASH = re.compile(r"\s+--hash=sha256:([0-9a-f]{64})\s*\\?")
Pins = dict[tuple[str, str, str], dict[str, set[str]]]


def locks() -> list[Path]:
    """Every file that pins a package."""
    envs = ROOT / "envs"
    return sorted([*envs.glob("*.lock"), *envs.glob("*.torch"), envs / "build.txt"])


def read_pins(path: Path, pins: Pins) -> None:
    """Add what a lock pins; a line that is neither a pin nor a hash is a UserError."""
    current: dict[str, set[str]] | None = None
    # another file than the registry's of the same version, and pinned without a hash
    build = "?build=cpu" if path.suffix == ".torch" else ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if pin := PIN.fullmatch(line):
            name = re.sub(r"[-_.]+", "-", pin[1]).lower()
            current = pins.setdefault((name, pin[2], build), {"hashes": set(), "locks": set()})
            current["locks"].add(path.name)
        elif current is not None and (found := HASH.fullmatch(line)):
            current["hashes"].add(found[1])
        else:
            raise UserError(f"{path} line {number} is {line!r}; expected NAME==VERSION or a hash")


def component(name: str, version: str, build: str, pinned: dict[str, set[str]]) -> dict[str, Any]:
    """A package in one version."""
    # a + starts a local version, and is a space in some readers' eyes
    purl = f"pkg:pypi/{name}@{version.replace('+', '%2B')}{build}"
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "properties": [
            {"name": "mindtune:lock", "value": lock} for lock in sorted(pinned["locks"])
        ],
    }
    if pinned["hashes"]:
        hashes = sorted(pinned["hashes"])
        found["hashes"] = [{"alg": "SHA-256", "content": content} for content in hashes]
    return found


def bill(paths: list[Path], version: str) -> dict[str, Any]:
    """The bill of materials of some locks."""
    pins: Pins = {}
    for path in paths:
        read_pins(path, pins)
    components = [component(*key, pins[key]) for key in sorted(pins)]
    digest = hashlib.sha256(to_json(components).encode()).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "mindtune",
                "name": "mindtune",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (version,) = re.findall(r"^version: (\S+)$", citation, re.M)
    found = bill(locks(), version)
    write_text(args.out, to_json(found) + "\n")
    bare = [part["purl"] for part in found["components"] if "hashes" not in part]
    print(
        f"{args.out}: {len(found['components'])} packages; without a hash: "
        f"{', '.join(bare) or 'none'}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
