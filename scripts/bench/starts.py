"""Starts of Snakemake in a working directory of their own, by the user's literal command."""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from mindtune.cli import UserError

ROOT = Path(__file__).resolve().parents[2]


def snakemake(
    args: argparse.Namespace, *words: str, overlays: tuple[Path, ...] = ()
) -> subprocess.Popen:
    """Start the literal command in the working directory; its output goes to snakemake.log
    there.
    """
    files = [str(Path(file).resolve()) for file in (*args.configfile, *overlays)]
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory",
        str(args.workdir),
        "--cores", str(args.cores), *words, *(["--configfile", *files] if files else []),
    ]  # fmt: skip
    log = open(args.workdir / "snakemake.log", "ab")  # noqa: SIM115 - the child keeps it
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE if "-n" in words else log, stderr=log, text=True
    )


def finished(process: subprocess.Popen, what: str) -> str:
    """Wait for a start of Snakemake and return what it printed; a failure is a UserError."""
    output, _ = process.communicate()
    if process.returncode:
        raise UserError(
            f"{what} ended with status {process.returncode}; read snakemake.log in the working "
            f"directory"
        )
    return output or ""


def planned(args: argparse.Namespace, *words: str, overlays: tuple[Path, ...] = ()) -> list[str]:
    """The rules that a plan names, sorted; none if there is nothing to do."""
    output = finished(snakemake(args, *words, "-n", "--quiet", "host", overlays=overlays), "a plan")
    return sorted(set(re.findall(r"^(?:local)?rule (\w+):", output, re.M)) - {"all"})


def write_overlay(args: argparse.Namespace, name: str, content: dict[str, Any]) -> Path:
    """A configuration to be laid over the others."""
    path = args.workdir / name
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path
