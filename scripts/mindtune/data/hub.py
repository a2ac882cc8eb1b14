"""Snapshots of datasets and models: from ModelScope, from Hugging Face (HF_ENDPOINT is respected)
or from a local path.

A hub snapshot is taken at a named revision. Of every source only files are taken whose names stand
in a list; nothing is unpacked and nothing is executed.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mindtune.cli import UserError
from mindtune.model_files import ABOUT, matches
from mindtune.records import copy_file, link_or_copy, list_files, sha256_files, sha256_listing

SPEC_KEYS = ("source", "id", "revision", "path", "sha256", "licence", "erased")
PACKAGES = {"modelscope": "modelscope", "huggingface": "huggingface_hub"}
CONNECT_SECONDS = 5.0  # a hub that does not answer by then is taken for unreachable

DATA = ABOUT + [
    f"*{suffix}{packed}"
    for suffix in (".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".csv", ".tsv", ".txt")
    for packed in ("", ".gz", ".zst")
]

ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz")


def check_spec(spec: dict[str, Any], key: str) -> None:
    """A source entry of the config is whole: `key` is its place there, for the message."""
    if unknown := sorted(set(spec) - set(SPEC_KEYS)):
        raise UserError(
            f"{key}: found the keys {', '.join(unknown)}; expected only {', '.join(SPEC_KEYS)}"
        )
    source = spec.get("source")
    if source not in (*PACKAGES, "local"):
        raise UserError(f"{key}.source is {source!r}; expected modelscope, huggingface or local")
    needed = ("path",) if source == "local" else ("id", "revision")
    for name in needed:
        if not spec.get(name):
            raise UserError(
                f"{key}.{name} is missing; a {source} source needs {' and '.join(needed)}"
            )


def local_path(given: str, spec: dict[str, Any]) -> Path | None:
    """Where the files lie on this machine: the path given, else that of a local source; None for a
    hub's.
    """
    path = given or (spec["path"] if spec["source"] == "local" else "")
    return Path(path) if path else None


def download(spec: dict[str, Any], kind: str, patterns: Sequence[str], key: str) -> Path:
    """A hub snapshot in the hub's own cache, which resumes; `kind` is dataset or model. Returns
    its folder.
    """
    answers = _answers(spec["source"])
    try:
        return Path(_snapshot(spec, kind, list(patterns), offline=not answers))
    except Exception as error:
        # The two clients raise dozens of kinds, from HTTP errors to missing cache entries: to a
        # user all mean "not fetched".
        where = f"{spec['source']} {kind} {spec['id']} at revision {spec['revision']}"
        reason = (
            f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            if str(error).strip()
            else type(error).__name__
        )
        if not answers:
            reason = (
                f"{_endpoint(spec['source'])} does not answer within {CONNECT_SECONDS:g} s, "
                f"and the cache does not hold it"
            )
        raise UserError(
            f"cannot fetch {where} ({reason}); connect this machine, or copy the files to a folder "
            f"here and set "
            f"{key}: {{source: local, path: FOLDER}} in the config"
        ) from error


def _endpoint(source: str) -> str:
    if source == "huggingface":
        return os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return os.environ.get("MODELSCOPE_ENDPOINT", "https://www.modelscope.cn")


def _answers(source: str) -> bool:
    """One short request first: left to themselves both clients retry for minutes when there is no
    network.
    """
    import httpx

    try:
        httpx.head(_endpoint(source), timeout=CONNECT_SECONDS, follow_redirects=False)
    except httpx.HTTPError:
        return False
    return True


def _snapshot(spec: dict[str, Any], kind: str, patterns: list[str], offline: bool) -> str:
    if spec["source"] == "huggingface":
        from huggingface_hub import snapshot_download

        return snapshot_download(
            spec["id"], repo_type=kind, revision=spec["revision"], allow_patterns=patterns,
                etag_timeout=CONNECT_SECONDS,
            local_files_only=offline,
        )  # fmt: skip
    from modelscope import snapshot_download

    return snapshot_download(
        repo_id=spec["id"],
        repo_type=kind,
        revision=spec["revision"],
        allow_patterns=patterns,
        local_files_only=offline,
    )


def local_files(path: Path, patterns: Sequence[str], key: str) -> dict[str, Path]:
    """Relative name -> file, of a local file or folder; a link that leads out of the folder is an
    error.
    """
    if not path.exists():
        raise UserError(
            f"{path} does not exist; put the files there, or correct {key}.path in the config"
        )
    if path.is_file():
        return {path.name: path}
    root = path.resolve()
    chosen = {
        name: path / name
        for name in list_files(path)
        if matches(name, patterns) and not _hidden(name)
    }
    for file in chosen.values():
        if not file.resolve().is_relative_to(root):
            raise UserError(
                f"{file} is a link to {file.resolve()}, outside {path}; copy the file itself into "
                f"the folder"
            )
    if not chosen:
        raise UserError(
            f"{path} holds none of {', '.join(patterns)}; put the files there, or correct "
            f"{key}.path in the config"
        )
    return chosen


def left_behind(path: Path, taken: Collection[str]) -> dict[str, str]:
    """Relative name -> why, of everything below a local folder that is not taken."""
    left = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else ():
        name = os.fsencode(file.relative_to(path)).decode("utf-8", "backslashreplace")
        if name in taken or (file.is_dir() and not file.is_symlink()):
            continue
        if file.is_symlink() and not file.exists():
            left[name] = "a link to nothing"
        elif file.is_symlink() and file.is_dir():
            left[name] = "a link to a folder"
        elif not file.is_file():
            left[name] = "no regular file"
        elif _hidden(name):
            left[name] = "hidden"
        else:
            left[name] = "an archive" if file.suffix.lower() in ARCHIVES else "no data file"
    return left


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def snapshot_files(folder: Path, patterns: Sequence[str], key: str) -> dict[str, Path]:
    """As local_files, of a hub's snapshot folder, whose links into the hub's cache are its own."""
    chosen = {
        name: folder / name
        for name in list_files(folder)
        if matches(name, patterns) and not _hidden(name)
    }
    if not chosen:
        raise UserError(
            f"the repository holds none of {', '.join(patterns)} at this revision; correct {key} "
            f"in the config"
        )
    return chosen


def place(files: dict[str, Path], folder: Path, link: bool) -> dict[str, str]:
    """Copy files into a folder (or link them, a hub's cache being ours alone) and return their
    hashes by name.
    """
    names = sorted(files)
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if link:
            link_or_copy(files[name], target)
        else:
            copy_file(files[name], target)
    return sha256_files(folder, names)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum((folder / name).stat().st_size for name in list_files(folder))


def check_hash(hashes: dict[str, str], expected: str | None, key: str) -> str:
    """Hash of the listing; it must equal the one in the config where there is one."""
    found = sha256_listing(hashes)
    if expected is not None and expected != found:
        raise UserError(
            f"{key}.sha256 is {expected}, but the fetched files have {found}; the source changed: "
            f"check it, then correct the config"
        )
    return found
