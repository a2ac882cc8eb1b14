"""Run a command and end its whole process group when the process that started this one is gone,
however it ended.

Usage: watchdog.py COMMAND...   as the leader of a new process group, with a pipe as standard input
whose other end only the starting process holds. The system closes that end even after `kill -9`.
The command gets no standard input. The exit status is the command's.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
GRACE = 10.0


def die_with_parent() -> None:
    """In the command's process, before it starts: be killed when the watchdog is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_group(command: subprocess.Popen) -> None:
    """SIGTERM to the group, SIGKILL to what is left of it, this process included."""
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    # A handler rather than SIG_IGN, which the command would inherit: the watchdog outlives a
    # SIGTERM to its group
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    while (status := command.poll()) is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.1)
        if readable and not os.read(sys.stdin.fileno(), 1):
            end_group(command)
    os.killpg(0, signal.SIGTERM)  # helpers that the command left behind
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    raise SystemExit(main())
