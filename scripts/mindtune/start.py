"""What a start of Snakemake writes down for its jobs, so that an edit while they wait cannot reach
them.

A job on a cluster reads the Snakefile again when it begins, hours after Snakemake planned it and
noted its parameters. So a start writes its resolved configuration, the environments' folders, and
the hashes of programs and rules into one file that is named by its own content, in the working
directory, which compute nodes see. Its jobs get `--config start=FILE` in place of the
configuration files, and stop with a sentence if what they run has changed (mindtune.unchanged).
"""

import hashlib
import time
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.code import HASHED, SCRIPTS, changed, content_digest, sources
from mindtune.records import to_json, write_text
from mindtune.unchanged import read_start, refuse_changed

FOLDER = Path(".snakemake/mindtune")
ROOT = SCRIPTS.parent
# Longer than a job waits: a file that no start took again for so long is of no use to anybody
KEPT_SECONDS = 90 * 24 * 3600


def rule_files() -> dict[str, str]:
    """{file below the repository: digest} of all that a job reads to know its rule: the rules, and
    what they import.
    """
    library = {
        path
        for name in ("start", "config", "environments", "identity", "cards", "variants")
        for path in sources(f"mindtune/{name}.py")
    }
    paths = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk"), *library]
    return {path.relative_to(ROOT).as_posix(): content_digest(path) for path in sorted(paths)}


def start_text(config: dict[str, Any], environments: dict[str, str], rules: dict[str, str]) -> str:
    """Content of a start's file; the programs are those whose hashes the rules asked for."""
    return (
        to_json(
            {"config": config, "environments": environments, "programs": HASHED, "rules": rules}
        )
        + "\n"
    )


def start_path(text: str) -> Path:
    """Where a start's file lies: named by its content, so that starts never write over each
    other's.
    """
    return FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def write_start(text: str) -> None:
    """Write a start's file, and remove those that no start has taken for a long time."""
    path = start_path(text)
    write_text(path, text)
    for other in FOLDER.glob("*.json"):
        if time.time() - other.stat().st_mtime > KEPT_SECONDS:
            other.unlink(missing_ok=True)


def take_start(config: dict[str, Any]) -> dict[str, Any]:
    """What the start named by --config start=FILE wrote down; the rules must still be those that
    it read.
    """
    if others := sorted(set(config) - {"start"}):
        raise UserError(
            f"--config start={config['start']} is the whole configuration of an earlier start, but "
            f"{others[0]} is given too; "
            "leave one of them out"
        )
    start = read_start(str(config["start"]))
    if not isinstance(start, dict) or not {"config", "environments", "programs", "rules"} <= set(
        start
    ):
        raise UserError(
            f"{config['start']} was not written by a start; give a file of {FOLDER}/, or leave "
            f"start= out"
        )
    refuse_changed(changed(start["rules"], ROOT), "")
    return start
