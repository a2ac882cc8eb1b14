"""The jobs that made a results folder, as Snakemake noted them: no package is needed to read it."""

import base64
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

METADATA = Path(".snakemake/metadata")
FORMATS = range(3, 7)  # of a note; an unknown one is left out, not guessed at


@dataclass(frozen=True)
class DoneJob:
    """One job that ended well; times are UTC, ISO 8601, to the second."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    logs: tuple[str, ...]
    command: str
    start: str
    end: str

    @property
    def program(self) -> str | None:
        """The program in scripts/ that its command starts, as scripts/NAME.py."""
        found = re.search(r"/?scripts/([\w/]+\.py)\b", self.command)
        return f"scripts/{found[1]}" if found else None


def noted_path(path: Path, folder: Path) -> str:
    """The output that a note is about: its name is base64, cut into folders where it is long."""
    name = "".join(part.removeprefix("@") for part in path.relative_to(folder).parts)
    return base64.b64decode(name.replace("-", "+").replace("_", "/")).decode()


def iso(seconds: float) -> str:
    """Seconds since 1970 as UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def read_done(folder: Path = METADATA) -> list[DoneJob]:
    """The jobs whose outputs lie below results/, in the order of their ends."""
    found: dict[tuple[Any, ...], set[str]] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        note = json.loads(path.read_text(encoding="utf-8"))
        output = noted_path(path, folder)
        whole = note.get("record_format_version") in FORMATS and not note.get("incomplete")
        if not (whole and output.startswith("results/") and note.get("endtime")):
            continue
        times = iso(note["starttime"]), iso(note["endtime"])
        lists = (tuple(note.get(side) or ()) for side in ("input", "log"))
        key = (note["rule"], *lists, " ".join((note.get("shellcmd") or "").split()), *times)
        found.setdefault(key, set()).add(output)
    jobs = [
        DoneJob(rule, inputs, tuple(sorted(outputs)), logs, command, start, end)
        for (rule, inputs, logs, command, start, end), outputs in found.items()
    ]
    return sorted(jobs, key=lambda job: (job.end, job.rule, job.outputs))


def noted_codes(folder: Path = METADATA) -> dict[str, str]:
    """{output: hash of the code that made it}, as the rules' parameter `code` had it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            params = json.loads(path.read_text(encoding="utf-8")).get("params") or ()
            codes = [text.strip("'") for text in params if re.fullmatch("'[0-9a-f]{16}'", text)]
            if len(codes) == 1:
                found[noted_path(path, folder)] = codes[0]
    return found
