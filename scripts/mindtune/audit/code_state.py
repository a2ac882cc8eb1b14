"""The code as it is now: its files, the commit below them, and what differs from that commit."""

import hashlib
import subprocess
from pathlib import Path

# Without git: what a copy of the workflow consists of
PARTS = ("Snakefile", "Makefile", "rules", "scripts", "config", "envs", "resources", "profiles")
PARTS += ("slurm-h100", "LICENSE", "CITATION.cff", "README.md", "pyproject.toml")
# New files that git does not know yet are part of the code if they are one of these
NEW = ("*.py", "*.smk", "*.j2", "config/suites/*.yaml")


def git(root: Path, *words: str) -> bytes | None:
    """What git prints, or None without git or a repository; no hook, pager or outside diff runs."""
    command = [
        "git",
        "-C",
        str(root),
        "-c",
        "core.quotePath=false",
        "-c",
        "core.fsmonitor=",
        *words,
    ]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def is_repository(root: Path) -> bool:
    """Whether the workflow itself is one, and not a folder that some other repository holds."""
    top = git(root, "rev-parse", "--show-toplevel")
    return bool(top) and Path(top.decode().strip()).resolve() == root.resolve()


def commit(root: Path) -> str | None:
    """The commit that is checked out."""
    found = git(root, "rev-parse", "HEAD") if is_repository(root) else None
    return found.decode().strip() if found else None


def uncommitted(root: Path) -> bytes:
    """The difference between the files and the commit, as a patch; empty without git."""
    words = ("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color")
    return (git(root, *words) if is_repository(root) else None) or b""


def code_files(root: Path) -> list[str]:
    """The files of the workflow, sorted: those that git knows and that are there, and new programs
    and rules; without git those of its known folders.
    """
    if is_repository(root):
        listed = [git(root, "ls-files", "-z") or b""]
        listed.append(git(root, "ls-files", "-z", "--others", "--exclude-standard", *NEW) or b"")
        names = {name.decode() for part in listed for name in part.split(b"\0") if name}
    else:
        places = [root / part for part in PARTS]
        found = [
            file for place in places for file in ([place] if place.is_file() else place.rglob("*"))
        ]
        names = {
            file.relative_to(root).as_posix() for file in found if "__pycache__" not in file.parts
        }
    files = ((name, root / name) for name in sorted(names))
    return [name for name, path in files if path.is_file() and not path.is_symlink()]


def state_of_code(root: Path) -> dict[str, str]:
    """The commit and the SHA-256 of what differs from it; what is not known is left out."""
    found = commit(root)
    patch = uncommitted(root)
    new = git(root, "ls-files", "-z", "--others", "--exclude-standard", *NEW) if found else None
    for name in sorted(filter(None, (new or b"").split(b"\0"))):
        patch += name + b"\0" + (root / name.decode()).read_bytes()
    state = {"commit": found} if found else {}
    return state | ({"uncommitted_sha256": hashlib.sha256(patch).hexdigest()} if patch else {})
