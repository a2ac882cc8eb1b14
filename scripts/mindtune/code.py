"""Which of our own code a program runs, and a hash of what it computes: an edited statement reruns
exactly its users.

What counts is a file's syntax tree without its docstrings, so a comment, a docstring or the
formatter reruns nothing. CHECKS do not count: they decide whether something is made, never what.
docs/change.md has the table.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).resolve().parent.parent
CHECKS = (
    "mindtune/cli.py",
    "mindtune/nvml.py",
    "mindtune/preflight.py",
    "mindtune/unchanged.py",
)
# {program: {file: digest}} of every `code_hash` so far, of the very text that went into it
HASHED: dict[str, dict[str, str]] = {}


class Seen(NamedTuple):
    """What a Python file computes, and what it names: all that is asked of its text."""

    digest: str
    modules: list[str]
    beside: list[str]


# {SHA-256 of a file's bytes: what is in it}, also of earlier plans (`recall`)
KNOWN: dict[str, Seen] = {}
ASKED: set[str] = set()


def without_docstring(node: ast.AST) -> None:
    """Take the docstring out of a module, class or function, in place."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:]


def named_modules(node: ast.AST) -> list[str]:
    """Dotted names that an import statement may mean; none for any other node."""
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def look_through(source: bytes) -> Seen:
    """What is in a Python file: a digest of its syntax tree without docstrings, the modules that it
    imports, anywhere, and texts that may name a template or a program beside it.
    """
    tree, modules, beside = ast.parse(source), set(), set()
    for node in ast.walk(tree):
        without_docstring(node)
    for node in ast.walk(tree):
        modules.update(named_modules(node))
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and text.endswith((".py", ".j2")):
            beside.add(text)
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return Seen(digest, sorted(modules), sorted(beside))


@cache
def seen(path: Path) -> Seen:
    """What is in a Python file; one with the same bytes is not looked through again."""
    text = path.read_bytes()
    key = hashlib.sha256(text).hexdigest()
    ASKED.add(key)
    if key not in KNOWN:
        KNOWN[key] = look_through(text)
    return KNOWN[key]


def this_version() -> str:
    """What decides how a file is looked through: this module, and Python's grammar."""
    here = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return f"{here} {sys.version_info.major}.{sys.version_info.minor}"


def recall(path: Path) -> None:
    """Take up what earlier plans found, from a file that `keep` wrote; nothing if it is torn, or
    of another version.
    """
    try:
        kept = json.loads(path.read_bytes())
        if kept["version"] == this_version():
            KNOWN.update({key: Seen(*found) for key, found in kept["seen"].items()})
    except (OSError, ValueError, LookupError, TypeError):
        return


def keep(path: Path) -> None:
    """Write down what this plan asked for, if some of it is new and the folder is there."""
    from mindtune.records import write_json

    found = {key: KNOWN[key] for key in sorted(ASKED)}
    with suppress(OSError, ValueError, LookupError, TypeError):
        if json.loads(path.read_bytes())["seen"].keys() == found.keys():
            return
    if path.parent.is_dir():
        with suppress(OSError):
            write_json(path, {"version": this_version(), "seen": found})


def content_digest(path: Path) -> str:
    """Hex SHA-256 of what a file computes: of a Python file its syntax tree, of any other its
    bytes.
    """
    if path.suffix == ".py":
        return seen(path).digest
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def used_files(path: Path) -> tuple[Path, ...]:
    """Files below scripts/ that a Python file imports or names, but for CHECKS."""
    found = seen(path)
    modules = (SCRIPTS.joinpath(*name.split(".")).with_suffix(".py") for name in found.modules)
    files = {*modules, *(path.parent / name for name in found.beside)}
    return tuple(file for file in sorted(files) if file.is_file() and not is_check(file))


@cache
def sources(program: str, *extra: str) -> tuple[Path, ...]:
    """The program, `extra` files, and all that they use directly or indirectly, but for CHECKS;
    names are relative to scripts/.
    """
    seen: set[Path] = set()
    queue = [SCRIPTS / name for name in (program, *extra)]
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            if path.suffix == ".py":
                queue += used_files(path)
    return tuple(sorted(seen))


def is_check(path: Path) -> bool:
    """Whether a file below scripts/ only refuses, and so does not count."""
    return path.is_relative_to(SCRIPTS) and path.relative_to(SCRIPTS).as_posix() in CHECKS


@cache
def code_hash(program: str, *extra: str) -> str:
    """First 16 hex digits of SHA-256 over names and digests of `sources`."""
    files = {
        path.relative_to(SCRIPTS).as_posix(): content_digest(path)
        for path in sources(program, *extra)
    }
    HASHED.setdefault(program, {}).update(files)
    return hash_of_digests(files)


def hash_of_digests(files: dict[str, str]) -> str:
    """The `code_hash` of files that have these digests."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


def changed(files: dict[str, str], folder: Path = SCRIPTS) -> Iterable[str]:
    """Names of the files below a folder that compute something else now, or that are gone."""
    for name, digest in sorted(files.items()):
        path = folder / name
        if not path.is_file() or content_digest(path) != digest:
            yield name
