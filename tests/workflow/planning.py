"""Plan the workflow in forks of one process: Snakemake is imported once, and a plan takes a second.

A `Project` is a working directory in which every output exists and Snakemake holds its metadata,
as after a finished demo: the outputs are empty (a record `{}`), and `--touch` records them. What a
plan then names is what an edit reruns.
"""

import copy
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FETCHED = "5" * 64
RECORDS = {"fetch_dataset.json": json.dumps({"facts": {"sha256": FETCHED}})}


def snakemake(*arguments: str) -> tuple[int, str]:
    """Run Snakemake's command line in a fork; return (exit status, what it printed)."""
    import snakemake.cli

    reading, writing = os.pipe()
    status = 1
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        sys.stdout = io.TextIOWrapper(
            os.fdopen(1, "wb", closefd=False), encoding="utf-8", line_buffering=True
        )
        sys.stderr = sys.stdout
        # the copy of the workflow brings its own library
        for name in [name for name in sys.modules if name.split(".")[0] == "mindtune"]:
            del sys.modules[name]
        try:
            snakemake.cli.main(list(arguments))
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        output = stream.read()
    _, waited = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(waited), output


class Project:
    """A finished run of a copy of the workflow, whose files a test may edit."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "mindtune"
        self.work = folder / "mindtune" / "demo"
        self.edit = folder / "edit.json"
        self.edit.write_text("{}", encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """Arguments of a call of the demo's configuration with the edit laid over it."""
        return [
            "--snakefile", str(self.root / "Snakefile"),
            "--directory", str(self.work),
            "--configfile", str(self.root / "config/demo.yaml"), str(self.edit),
            "--cores", "2", *arguments, "all",
        ]  # fmt: skip

    def finish(self) -> None:
        """Make every output of the plan, empty, and let Snakemake record them as made."""
        status, output = snakemake(*self.command("--summary"))
        assert status == 0, output
        header, *lines = [line.split("\t") for line in output.splitlines() if "\t" in line]
        for line in lines:
            path = self.work / line[header.index("output_file")]
            if path.suffix or path.name == "READY":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(RECORDS.get(path.name, "{}") if path.suffix == ".json" else "")
            else:
                path.mkdir(parents=True, exist_ok=True)
        status, output = snakemake(*self.command("--touch", "--forceall"))
        assert status == 0, output

    def at(self, root: Path | None = None, work: Path | None = None) -> "Project":
        """The same project, whose workflow or whose results lie elsewhere."""
        other = copy.copy(self)
        other.root, other.work = root or self.root, work or self.work
        return other

    def planned(self, edit: dict[str, Any] | None = None) -> set[str]:
        """Names of the rules that would run, `all` left out, after an edit of the configuration."""
        self.edit.write_text(json.dumps(edit or {}), encoding="utf-8")
        try:
            status, output = snakemake(*self.command("--dry-run"))
        finally:
            self.edit.write_text("{}", encoding="utf-8")
        assert status == 0, output
        return set(re.findall(r"^(?:local)?rule (\w+):$", output, re.M)) - {"all"}
