"""Files that are whole or absent, their hashes, and the one JSON record that every stage writes."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mindtune.cli import UserError

RECORD_KEYS = ("stage", "inputs", "outputs", "params", "facts", "env", "seal")
FICLONE = (
    0x40049409  # ioctl(2): a copy that shares the blocks until one side is written to (btrfs, xfs)
)
BLOCK = (
    16 << 20
)  # so large that a thread that hashes beside another rarely has to wait for the interpreter's lock

MOST_THREADS = 8  # with 128 MiB of blocks


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        buffer = memoryview(bytearray(min(BLOCK, os.fstat(stream.fileno()).st_size + 1)))
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def list_files(folder: str | Path) -> list[str]:
    """Relative POSIX paths of all files below a folder, sorted, Snakemake's own marker files left
    out.
    """
    folder = Path(folder)
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".snakemake_")
    )


def hashing_threads() -> ThreadPoolExecutor:
    """Threads that hash side by side: hashlib lets the others run meanwhile."""
    return ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0))))


def sha256_files(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """{relative path: SHA-256} of a folder's files, or of those named, in that order; several are
    read at once.
    """
    names = list_files(folder) if names is None else list(names)
    with hashing_threads() as pool:
        hashes = pool.map(sha256_file, [Path(folder) / name for name in names])
        return dict(zip(names, hashes, strict=True))


def sha256_listing(files: Mapping[str, str]) -> str:
    """Hash of a folder, given {relative path: sha256}: SHA-256 over the sorted `sha256  path`
    lines, as sha256sum prints them.
    """
    lines = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def sha256_path(path: str | Path) -> str:
    """Hash of a file's bytes, or of a folder's listing."""
    path = Path(path)
    if path.is_dir():
        return sha256_listing(sha256_files(path))
    return sha256_file(path)


def to_json(data: Any, indent: int | None = 2) -> str:
    """JSON with sorted keys and Chinese text as itself, so that equal data give equal bytes."""
    return json.dumps(data, ensure_ascii=False, sort_keys=True, indent=indent, allow_nan=False)


@contextmanager
def partial(path: str | Path) -> Iterator[Path]:
    """Yield `<path>.partial` to write to; it takes the final name only if the block succeeds."""
    path = Path(path)
    temporary = path.with_name(path.name + ".partial")
    remove(temporary)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
    except BaseException:
        remove(temporary)
        raise
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(temporary, path)


@contextmanager
def partial_folder(path: str | Path) -> Iterator[Path]:
    """As `partial`, for a folder, which exists when the block starts."""
    with partial(path) as temporary:
        temporary.mkdir()
        yield temporary


def remove(path: str | Path) -> None:
    """Remove a file or a folder if it is there."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Hard link a file, or copy it where the file system cannot link; the target's folder is
    made.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a file's bytes: at once where the file system can share the blocks, else by reading.
    What is written to one is not in the other.
    """
    with open(source, "rb") as reading, open(target, "wb") as writing:
        try:
            fcntl.ioctl(writing, FICLONE, reading.fileno())
        except OSError:
            shutil.copyfile(source, target)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text with \\n line ends, whole or not at all."""
    with partial(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(path: str | Path, data: Any) -> None:
    """Write sorted, newline-terminated JSON, whole or not at all."""
    write_text(path, to_json(data) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file that the workflow wrote; a torn one is a UserError that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not whole JSON ({error}); delete it and run again") from error


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, keys in the order given, and return the number of rows."""
    count = 0
    with partial(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file that the workflow wrote; a torn line is a UserError that
    names it.
    """
    with open(path, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{path} line {number} is not JSON ({error}); delete the file and run again"
                ) from error


def write_record(
    path: str | Path,
    stage: str,
    *,
    inputs: Iterable[str | Path] | Mapping[str, str],
    outputs: Iterable[str | Path],
    params: Mapping[str, Any],
    facts: Mapping[str, Any],
    packages: Iterable[str] = (),
) -> None:
    """Write a stage's record: what went in and came out by SHA-256, the settings, what was found,
    with which packages; and a seal.

    `inputs` and `outputs` are files or folders (see `sha256_path`), inputs that are hashed already
    {path: SHA-256}; `packages` are distribution names, recorded with their installed versions.
    There is no time in it: equal runs give equal bytes.
    """
    write_hashed_record(
        path,
        stage,
        inputs=inputs
        if isinstance(inputs, Mapping)
        else {Path(name).as_posix(): sha256_path(name) for name in inputs},
        outputs={Path(name).as_posix(): sha256_path(name) for name in outputs},
        params=params,
        facts=facts,
        packages=packages,
    )


def write_hashed_record(
    path: str | Path,
    stage: str,
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    params: Mapping[str, Any],
    facts: Mapping[str, Any],
    packages: Iterable[str],
) -> None:
    """As `write_record`, for {path: SHA-256} known already: reading 30 GB of weights again would
    double a stage's time.
    """
    env = {name: version(name) for name in sorted(packages)}
    parts = {"inputs": inputs, "outputs": outputs, "params": params, "facts": facts, "env": env}
    record = {"stage": stage} | {name: dict(part) for name, part in parts.items()}
    write_json(path, record | {"seal": seal(record)})


def seal(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record as it is read back, without its seal: an edit of the file shows."""
    said = json.loads(to_json({name: part for name, part in record.items() if name != "seal"}))
    return hashlib.sha256(to_json(said).encode()).hexdigest()
