"""What every program that measures something has in common: where it ran, and the record it leaves."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mindtune.records import write_json


def machine() -> dict[str, Any]:
    """Processor, cores, memory and cards of this machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts = {"cpu": cpu[0] if cpu else platform.machine(), "cores": os.cpu_count(), "memory_gb": round(memory / 1e9)}
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        facts["cards"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().split("\n")
    return facts


def versions(names: Iterable[str]) -> dict[str, str]:
    """Python's version and those of the distributions that are installed."""
    found = {"python": platform.python_version()}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def command() -> str:
    """This program's command line, absolute paths cut to their last part: a record should not depend on where it was made."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv]
    return shlex.join([Path(sys.executable).name, *words])


def write_measurement(
    path: Path,
    what: str,
    *,
    packages: Iterable[str],
    runs: list[Mapping[str, Any]],
    median: Mapping[str, Any],
    target: Mapping[str, Any],
    met: Mapping[str, bool],
    note: str,
) -> None:
    """Write the record of a measurement: what was run where, every single run, and what was asked of it."""
    write_json(
        path,
        {
            "what": what,
            "command": command(),
            "machine": machine(),
            "versions": versions(packages),
            "date": date.today().isoformat(),
            "runs": list(runs),
            "median": dict(median),
            "target": dict(target),
            "met": dict(met),
            "note": note,
        },
    )
