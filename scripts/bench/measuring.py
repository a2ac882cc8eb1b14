"""What every program that measures something has in common: where it ran, and the record it
leaves.
"""

import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError
from mindtune.records import write_json


def machine() -> dict[str, Any]:
    """Processor, cores, memory and cards of this machine."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts = {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
    }
    if shutil.which("nvidia-smi"):
        query = [
            "nvidia-smi",
            "--query-gpu=name,memory.total,driver_version",
            "--format=csv,noheader",
        ]
        facts["cards"] = (
            subprocess.run(query, capture_output=True, text=True, check=True)
            .stdout.strip()
            .split("\n")
        )
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


def tree(pid: int) -> list[int]:
    """A process and all below it; those that end meanwhile are left out."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def memory_kb(pid: int) -> int:
    """Proportional set size of a process tree: pages that several share count once."""
    total = 0
    for member in tree(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def timed(command: Sequence[Any], log: Path | None = None, **environment: str) -> dict[str, float]:
    """Run a command: seconds, CPU seconds and peak memory (GB, sampled) of its process tree; a
    failure is a UserError.

    Its output is appended to `log`; without one, only what it writes to standard error is kept,
    where ours goes.
    """
    with open(log or os.devnull, "ab") as output:
        start, peak, done = time.monotonic(), 0, threading.Event()
        child = subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
        )

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.3):
            peak = max(peak, memory_kb(child.pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    sampler.join()
    if status:
        raise UserError(
            f"{shlex.join(map(str, command))} ended with status {child.returncode}; "
            + (f"read {log}" if log else "run it by hand to see why")
        )
    return {
        "s": round(seconds, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "gb": round(peak / 1e6, 3),
    }


def command() -> str:
    """This program's command line, absolute paths cut to their last part: a record should not
    depend on where it was made.
    """
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv]
    return shlex.join([Path(sys.executable).name, *words])


def head(what: str, command: str, packages: Iterable[str]) -> dict[str, Any]:
    """The part of a measurement's record that says what was run where, with what and when."""
    return {
        "what": what,
        "command": command,
        "machine": machine(),
        "versions": versions(packages),
        "date": date.today().isoformat(),
    }


def meets(
    found: Mapping[str, Any], targets: Mapping[str, float], at_least: Iterable[str]
) -> dict[str, bool]:
    """Which targets the figures found meet: those of `at_least` are lower bounds, all others upper
    ones; None meets none.
    """
    lower = set(at_least)
    return {
        name: found[name] is not None
        and (found[name] >= bound if name in lower else found[name] <= bound)
        for name, bound in targets.items()
        if name in found
    }


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), which stays within 0 and 1 and is wide where n
    is small.
    """
    z = 1.959964
    middle, half = (
        hits / n + z * z / (2 * n),
        z * math.sqrt(hits / n * (1 - hits / n) / n + (z / (2 * n)) ** 2),
    )
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


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
    """Write the record of a measurement: what was run where, every single run, and what was asked
    of it.
    """
    write_json(
        path,
        {
            **head(what, command(), packages),
            "runs": list(runs),
            "median": dict(median),
            "target": dict(target),
            "met": dict(met),
            "note": note,
        },
    )
