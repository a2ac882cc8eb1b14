"""The processes of a server: started as a group of their own under the watchdog, watched, and
proven gone.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from mindtune.cli import UserError
from mindtune.serve import watchdog

GRACE_S = 10


def free_port() -> int:
    """A loopback port that was free a moment ago, for a server that cannot choose one itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def group_members(group: int) -> list[int]:
    """Process ids of a process group that still run; a process that ended and was not yet
    collected does not count.
    """
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name, which may hold anything) state ppid pgrp ...
            state, _, pgrp = (
                stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
            )
        except OSError:
            continue  # ended while we looked
        if int(pgrp) == group and state not in "ZX":
            members.append(int(stat.parent.name))
    return sorted(members)


def port_open(port: int) -> bool:
    """True if something takes connections on a loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cause(log: Path) -> str:
    """The last line of a log that names an error, or else its last line."""
    lines = [
        line.strip()
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    named = [
        line for line in lines if re.match(r"(error|[\w.]*(Error|Exception|Interrupt))\b.*:", line)
    ]
    return (named or lines or ["nothing"])[-1]


def stop(process: subprocess.Popen, port: int | None) -> None:
    """End a server's process group, by SIGKILL after 10 s, and prove that no process and no open
    port is left.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if group_members(process.pid):
            with suppress(ProcessLookupError):  # ended while we looked
                os.killpg(process.pid, number)
        deadline = time.monotonic() + GRACE_S
        while group_members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    process.stdin.close()
    process.wait(timeout=GRACE_S)
    left = group_members(process.pid)
    if left or (port and port_open(port)):
        raise UserError(
            f"the server did not end: processes {left} are left or port {port} is open; end them "
            f"by hand"
        )


def check_alive(process: subprocess.Popen, deadline: float, log: Path) -> None:
    """Raise UserError with the log's own words if the server ended or is late."""
    if process.poll() is not None:
        raise UserError(
            f"the server ended with status {process.returncode} before it answered: {cause(log)} "
            f"(all of it: {log})"
        )
    if time.monotonic() > deadline:
        raise UserError(
            f"the server did not answer in time; raise startup_timeout_s or read {log}, which ends "
            f"in: {cause(log)}"
        )


def start_group(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen:
    """Start a command under the watchdog, in a session and process group of its own, with its
    output in `log`.
    """
    if not shutil.which(command[0]):
        raise UserError(
            f"there is no interpreter {command[0]}; build the environment that serves "
            f"(rules/env.smk does)"
        )
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, *command],
            env=env,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
