"""The bill of materials: valid by CycloneDX's own schema, whole, and the same bytes each time."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.cli import UserError

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "scripts/tools"))

import write_sbom  # noqa: E402


def test_it_holds_every_pin_and_every_hash():
    found = write_sbom.bill(write_sbom.locks(), "0.1.0")
    pins, hashes = set(), set()
    for path in (*ROOT.glob("envs/*.lock"), *ROOT.glob("envs/*.torch"), ROOT / "envs/build.txt"):
        text = path.read_text(encoding="utf-8")
        pins |= {
            (re.sub(r"[-_.]+", "-", name).lower(), version)
            for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.M)
        }
        hashes |= set(re.findall("sha256:([0-9a-f]{64})", text))
    parts = found["components"]
    assert {(part["name"], part["version"]) for part in parts} == pins and len(parts) == len(
        pins
    ) + 1
    assert {row["content"] for part in parts for row in part.get("hashes", ())} == hashes
    bare = [part["name"] for part in parts if "hashes" not in part]
    assert bare == ["torch"], "the one package that SECURITY.md names as without a hash"


def test_equal_locks_give_equal_bytes(tmp_path):
    for name in "ab":
        command = [sys.executable, ROOT / "scripts/tools/write_sbom.py", "--out", tmp_path / name]
        assert subprocess.run(command, capture_output=True).returncode == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_line_that_is_no_pin_is_refused(tmp_path):
    (tmp_path / "x.lock").write_text("requests>=2\n", encoding="utf-8")
    with pytest.raises(UserError, match="x.lock line 1 is 'requests>=2'"):
        write_sbom.bill([tmp_path / "x.lock"], "1")


def test_cyclonedx_s_schema_accepts_it(tmp_path):
    """The schema comes from CycloneDX's own package, which nothing else here needs."""
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource

    uv = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
    wheel = ["--target", tmp_path, "cyclonedx-python-lib==11.12.0"]
    done = subprocess.run([*install, *wheel], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"SKIPPED: CycloneDX's schema cannot be had here: {done.stderr[-200:]}")
    folder = tmp_path / "cyclonedx/schema/_res"
    schemas = {
        name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    registry = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()
    )
    # names of its files, by which its schemas refer to each other
    base = schemas["bom-1.6"]["$id"].rpartition("/")[0]
    registry = registry.with_resources(
        (f"{base}/{name}.SNAPSHOT.schema.json", Resource.from_contents(schemas[name]))
        for name in schemas
    )
    check = Draft7Validator(schemas["bom-1.6"], registry=registry)
    found = write_sbom.bill(write_sbom.locks(), "0.1.0")
    assert [error.message for error in check.iter_errors(found)] == []
    assert list(check.iter_errors({**found, "components": [{"type": "nothing"}]}))
