"""A results folder knows whose results it holds: the base model and the sources of its data sets,
as the records of fetching say.

Everything else of a configuration may be edited. Another model or another source under the same
name is the one edit that throws away all that the folder holds; most often it is not meant:
`--configfile` was forgotten. It has to be said by name.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.code import SCRIPTS
from mindtune.mixture import used_sets
from mindtune.records import read_json

ROOT = SCRIPTS.parent
REPLACEABLE = ("model", "data", "all")
# What makes a source another one; a licence, a checksum or a template does not
KEYS = {"local": ("source", "path"), "package": ("source", "id")}
HUB_KEYS = ("source", "id", "revision")


def identity(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a source's settings that says what it is."""
    found = source_spec(spec)
    return found | ({"path": os.path.normpath(ROOT / found["path"])} if found.get("path") else {})


def source_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a source's settings that says what it is, as the configuration has it."""
    return {key: spec.get(key) for key in KEYS.get(spec["source"], HUB_KEYS)}


def recorded_pin(spec: Mapping[str, Any], record: Path) -> str | None:
    """The checksum with which a source counts as asked for: that of the record, if what was fetched
    is what the configuration wants, and so there is nothing to do; else the configuration's.
    """
    pin = spec.get("sha256")
    if pin in (None, fetched_hash(record)) and record.is_file():
        return read_json(record).get("params", {}).get("sha256")
    return pin


def fetched_hash(record: Path) -> str | None:
    """The hash of what a fetch brought; None if there is no record, or no hash in it."""
    facts = read_json(record).get("facts", {}) if record.is_file() else {}
    return facts.get("source_sha256", facts.get("sha256"))


def unmet_pin(spec: Mapping[str, Any], record: Path) -> str | None:
    """The hash of what was fetched, if the configuration wants another one."""
    found = fetched_hash(record)
    return found if found and spec.get("sha256") not in (None, found) else None


def recorded(*records: Path) -> dict[str, Any] | None:
    """The settings that the first of these records holds; None if none of them is there."""
    found = [read_json(path).get("params") for path in records if path.is_file()]
    return next((params for params in found if params and "source" in params), None)


def others(
    config: Mapping[str, Any], results: Path
) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """(kind, key, what the folder holds, what is configured) of everything that is another one
    now.
    """
    base = results / "base"
    pairs = [
        (
            "model",
            "model",
            config["model"],
            recorded(base / "fetch_model.json", base / "fetch_tokenizer.json"),
        )
    ]
    for name in used_sets(config):
        record = recorded(results / "data" / name / "fetch_dataset.json")
        pairs.append(("data", f"datasets.{name}", config["datasets"][name], record))
    for kind, key, spec, record in pairs:
        if record and identity(record) != identity(spec):
            yield kind, key, identity(record), identity(spec)
    for kind, key, spec, path in fetched(config, results):
        if digest := unmet_pin(spec, path):
            yield kind, key, {"sha256": digest}, {"sha256": spec["sha256"]}


def fetched(
    config: Mapping[str, Any], results: Path
) -> Iterator[tuple[str, str, Mapping[str, Any], Path]]:
    """(kind, key, settings, record) of every source that a checksum can pin."""
    yield "model", "model", config["model"], results / "base/fetch_model.json"
    for name in used_sets(config):
        record = results / "data" / name / "fetch_dataset.json"
        yield "data", f"datasets.{name}", config["datasets"][name], record


def check_identity(config: Mapping[str, Any], results: Path, replace: str | None) -> None:
    """Refuse a configuration that would replace the model or the data of a results folder, unless
    that is said by name.
    """
    if replace not in (None, *REPLACEABLE):
        raise UserError(
            f"--config replace={replace} should be one of {', '.join(REPLACEABLE)}; name what may "
            f"be replaced"
        )
    for kind, key, held, wanted in others(config, results):
        if replace not in (kind, "all"):
            raise UserError(
                f"{results.absolute()} holds the results of {key} {words(held)}, and the "
                f"configuration says {words(wanted)}, which "
                f"would replace them; give the --configfile that made them, another --directory, "
                f"or --config replace={kind} (make demo: REPLACE={kind})"
            )


def words(spec: Mapping[str, Any]) -> str:
    """A source in a sentence."""
    return " ".join(f"{key}={value}" for key, value in spec.items())
