"""Snakemake's command line in forks of a process that has it imported: a real process, whose start
takes no seconds.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["pytest", "snakemake.cli", "snakemake.workflow", "snakemake_executor_plugin_slurm"]
)


def call(arguments: Sequence[str], folder: str, environment: dict[str, str], output: str) -> None:
    """In the fork: become `python -m snakemake ARGUMENTS`, started in a folder, with its output in
    a file.
    """
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    stream = os.open(output, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(stream, descriptor)
    for printed in (sys.stdout, sys.stderr):
        printed.reconfigure(encoding="utf-8", line_buffering=True)
    import snakemake.cli

    snakemake.cli.main(list(arguments))


def snakemake(
    arguments: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    output: Path,
    timeout: float,
) -> int | None:
    """Exit status of a call, or None if it did not end within `timeout` seconds and was killed."""
    process = CONTEXT.Process(target=call, args=(arguments, str(folder), environment, str(output)))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode
