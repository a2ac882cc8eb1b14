"""Files that no rule makes: those of the repository, and those that the configuration names. They
must be there before a plan.

Snakemake takes the outputs of a rule whose input is missing for source files, in silence: an old
export would be published.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.config_signing import AMBIENT, check_login, token_module
from mindtune.records import read_json, sha256_file, write_json

# Larger files, in bytes, are read again only if their size or times change
ALWAYS_READ = 1 << 20
# Snakemake takes the first for a wildcard, the second for one of its variables
NOT_IN_PATHS = (re.compile(r"[{}]"), re.compile(r"<[a-z][a-z0-9_]*>"))


def configured_paths(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (config key, path) of every file and folder that the configuration names."""
    specs = {"model": config["model"]} | {
        f"datasets.{name}": spec for name, spec in config["datasets"].items()
    }
    for key, spec in specs.items():
        if spec["source"] == "local":
            yield f"{key}.path", spec["path"]
    for path in config["data"]["contamination"]["files"]:
        yield "data.contamination.files", path
    if config["data"]["split"]["paraphrases"]["path"]:
        yield "data.split.paraphrases.path", config["data"]["split"]["paraphrases"]["path"]
    conversations = config["evaluate"]["conversations"]
    if conversations["client"] == "model":
        yield "evaluate.conversations.path", conversations["path"]
    if conversations["client"] == "endpoint" and conversations["key_file"]:
        yield "evaluate.conversations.key_file", conversations["key_file"]
    if config["evaluate"]["raters"]["path"]:
        yield "evaluate.raters.path", config["evaluate"]["raters"]["path"]
        yield "evaluate.raters.path", f"{config['evaluate']['raters']['path']}/key.json"
    for key in (
        "signing_key",
        "signing_passphrase",
        "signing_certificate",
        "signing_login",
        "sigstore",
    ):
        if config["export"][key] not in (None, AMBIENT):
            yield f"export.{key}", config["export"][key]
    if config["export"]["signing_token"]:
        yield "export.signing_token", token_module(config["export"]["signing_token"])


def check_configured(config: Mapping[str, Any], base: str) -> None:
    """Raise UserError for the first path in the configuration that is not there; a relative one
    starts at `base`.
    """
    for key, path in configured_paths(config):
        place = os.path.normpath(os.path.join(base, path))
        check_source(place, f"config key {key} is {path!r}: ")
        if os.path.isdir(place) and not key.endswith(".path"):
            raise UserError(f"config key {key} is {path!r}, a folder; name a file")
        if key == "export.signing_login":
            check_login(Path(place), path)
        files_below(place)


def check_source(place: str, key: str = "") -> None:
    """Raise UserError if a file or folder is not there, cannot be read, is empty, or has a name
    that Snakemake misreads.
    """
    full = os.path.abspath(place)
    advice = (
        "correct the path (a relative one starts at the repository)"
        if key
        else "get it back (git checkout)"
    )
    if not os.path.exists(place):
        raise UserError(
            f"{key}{full} is not there; {advice}, or Snakemake would keep what an earlier run made"
        )
    if not os.access(place, os.R_OK):
        raise UserError(f"{key}{full} cannot be read; change its permissions, or {advice}")
    check_name(place)
    if os.path.isdir(place) and not any(path.is_file() for path in Path(place).rglob("*")):
        raise UserError(f"{key}{full} has no file in it; {advice}")


def files_below(place: str) -> list[str]:
    """The file, or the files in a folder and in those below it, sorted; a UserError for a name
    that Snakemake misreads.
    """
    files = (
        [place]
        if os.path.isfile(place)
        else sorted(str(path) for path in Path(place).rglob("*") if path.is_file())
    )
    for file in files:
        check_name(file)
    return files


def check_name(path: str) -> None:
    """Raise UserError for a path that Snakemake takes for a pattern."""
    for pattern in NOT_IN_PATHS:
        if found := pattern.search(path):
            raise UserError(
                f"{path} has {found[0]!r} in its path, to which Snakemake gives a meaning; rename "
                f"it"
            )


class Contents:
    """SHA-256 of files that the configuration names. A large one is read once: `known` keeps its
    hash with its size and times of change.
    """

    def __init__(self, known: Path) -> None:
        self.known = known

    def hashes(self, places: Iterable[str]) -> list[str]:
        """The files' hashes, in their order; a UserError for one that cannot be read."""
        kept = read_json(self.known) if self.known.is_file() else {}
        return [self.hash(Path(place), kept) for place in places]

    def hash(self, path: Path, kept: dict[str, Any]) -> str:
        """One file's hash; `kept` is {path: [size, times of change in ns, hash]}."""
        about = path.stat()
        if about.st_size <= ALWAYS_READ:
            return sha256_file(path)
        name, sign = str(path.resolve()), [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
        if kept.get(name, [])[:3] != sign:
            kept[name] = [*sign, sha256_file(path)]
            with suppress(OSError):  # somebody else's folder may not be written to
                write_json(self.known, kept)
        return kept[name][-1]
