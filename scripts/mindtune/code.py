"""Which of our own code a program runs, and a hash of it: what makes an edited byte rerun exactly its users."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
# {program: {file: SHA-256}} of every `code_hash` so far, of the very bytes that went into it
HASHED: dict[str, dict[str, str]] = {}


@cache
def imported_modules(path: Path) -> tuple[Path, ...]:
    """Files below scripts/ that a Python file imports, anywhere in it: modules of `mindtune`, and other programs."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            module = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
            if module.is_file():
                found.add(module)
    return tuple(sorted(found))


@cache
def sources(program: str, *extra: str) -> tuple[Path, ...]:
    """The program, the modules that it imports directly or indirectly, and `extra` files that it loads by name.

    Paths are relative to scripts/.
    """
    seen: set[Path] = set()
    queue = [SCRIPTS / name for name in (program, *extra)]
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            if path.suffix == ".py":
                queue += imported_modules(path)
    return tuple(sorted(seen))


@cache
def code_hash(program: str, *extra: str) -> str:
    """First 16 hex digits of SHA-256 over names and bytes of `sources`."""
    digest, files = hashlib.sha256(), {}
    for path in sources(program, *extra):
        name, content = path.relative_to(SCRIPTS).as_posix(), path.read_bytes()
        digest.update(name.encode() + b"\0" + content + b"\0")
        files[name] = hashlib.sha256(content).hexdigest()
    HASHED.setdefault(program, {}).update(files)
    return digest.hexdigest()[:16]


def changed(files: dict[str, str], folder: Path = SCRIPTS) -> Iterable[str]:
    """Names of the files below a folder whose bytes have another SHA-256 now, or that are gone."""
    for name, digest in sorted(files.items()):
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield name
