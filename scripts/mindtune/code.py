"""Which of our own code a program runs, and a hash of what it computes: an edited statement reruns
exactly its users.

What counts is a file's syntax tree without its docstrings, so a comment, a docstring or the
formatter reruns nothing. CHECKS do not count: they decide whether something is made, never what.
docs/change.md has the table.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
CHECKS = (
    "mindtune/cli.py",
    "mindtune/nvml.py",
    "mindtune/preflight.py",
    "mindtune/unchanged.py",
)
# {program: {file: digest}} of every `code_hash` so far, of the very text that went into it
HASHED: dict[str, dict[str, str]] = {}


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree with the docstrings of its modules, classes and functions taken out, in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree


@cache
def syntax_tree(path: Path) -> ast.Module:
    """A Python file's syntax tree, without docstrings."""
    return without_docstrings(ast.parse(path.read_bytes()))


@cache
def tree_digest(path: Path) -> str:
    """Hex SHA-256 of a Python file's syntax tree."""
    return hashlib.sha256(ast.dump(syntax_tree(path)).encode()).hexdigest()


def content_digest(path: Path) -> str:
    """Hex SHA-256 of what a file computes: of a Python file its syntax tree, of any other its
    bytes.
    """
    if path.suffix == ".py":
        return tree_digest(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def named_modules(node: ast.AST) -> list[str]:
    """Dotted names that an import statement may mean; none for any other node."""
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def named_files(path: Path) -> Iterator[Path]:
    """Files below scripts/ that a Python file may import, anywhere in it, or names by a text: a
    template or a program beside it. Not every one is there.
    """
    for node in ast.walk(syntax_tree(path)):
        for name in named_modules(node):
            yield SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.endswith((".py", ".j2"))
        ):
            yield path.parent / node.value


@cache
def used_files(path: Path) -> tuple[Path, ...]:
    """Files below scripts/ that a Python file uses, but for CHECKS."""
    return tuple(
        file for file in sorted({*named_files(path)}) if file.is_file() and not is_check(file)
    )


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
