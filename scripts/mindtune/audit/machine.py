"""What this machine and its environments are; what cannot be told is left out, never invented."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any


def hardware() -> dict[str, Any]:
    """Processor, cores, memory, cards, system and Python of this machine; no name of it."""
    found = {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "processor": line_of("/proc/cpuinfo", "model name"),
        "memory": line_of("/proc/meminfo", "MemTotal"),
        "python": platform.python_version(),
        "gpus": cards(),
    }
    return {name: value for name, value in found.items() if value}


def line_of(path: str, name: str) -> str | None:
    """The value of the first `name: value` line of a file of the kernel."""
    try:
        with open(path, encoding="utf-8") as stream:
            found = [line.partition(":")[2].strip() for line in stream if line.startswith(name)]
    except OSError:
        return None
    return found[0] if found else None


def cards() -> list[str]:
    """Names and drivers of the NVIDIA cards, if there are some."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def freeze(environment: Path) -> str:
    """`name==version` of every package in a virtual environment, a line each."""
    places = sorted(str(path) for path in environment.glob("lib/python3*/site-packages"))
    names = {(dist.metadata["Name"], dist.version) for dist in distributions(path=places)}
    return "".join(f"{name}=={version}\n" for name, version in sorted(names, key=lower))


def lower(pair: tuple[str, str]) -> tuple[str, str]:
    """A sort key that does not look at capitals."""
    return pair[0].lower(), pair[1]


def freezes(environments: Mapping[str, str]) -> dict[str, str]:
    """{name: freeze} of those that are built, by {name: folder}."""
    return {
        name: freeze(Path(folder))
        for name, folder in sorted(environments.items())
        if Path(folder, "READY").is_file()
    }
