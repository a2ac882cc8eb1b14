"""What goes into the archive of a run, and what is named there by its hash alone."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.audit.scrub import scrub
from mindtune.audit.zipping import Content
from mindtune.mixture import used_sets
from mindtune.records import list_files

# Folders of weights, and what is made of data and weights again in seconds
WEIGHTS = r"results/base/(model|tokenizer)|results/export|results/data/[^/]+/cached|results/runs/[^/]+/(adapter|merged|export|cached)"  # noqa: E501
# Dialogues and questions, and what models replied to them: every file of rows but the letters'
# likelihoods; sheets for raters and the report show some
DATA = (
    r"results/(?!(base|runs/[^/]+)/letters/).+\.jsonl|results/(data|suites)/[^/]+/raw"
    r"|results/raters/.+|results/report/report\.html"
)
# A server's log may quote what it was asked
QUOTES = r"logs/.+\.server\.log"
OPEN = re.compile(r"(?i)(cc0|cc-by(-sa)?-\d|mit\b|apache|odc-by|odbl|bsd|pddl|public domain)")
WITH_WEIGHTS = {"none": (), "adapter": ("adapter",), "export": ("adapter", "export")}


@dataclass
class Contents:
    """{name in the archive: content}, and {path: what is said of a result that is not in it}."""

    files: dict[str, Content] = field(default_factory=dict)
    withheld: dict[str, dict[str, str]] = field(default_factory=dict)


def is_open(licences: Iterable[str]) -> bool:
    """Whether data under these licences may be given to anybody."""
    return all(OPEN.match(licence) for licence in licences)


def licences_of(config: Mapping[str, Any]) -> list[str]:
    """The licences of the data sets in use, and of the suites that have data of their own."""
    own = [
        spec for _, spec in sorted(config.get("suites", {}).items()) if spec["source"] != "split"
    ]
    found = [config["datasets"][name]["licence"] for name in used_sets(config)]
    return list(dict.fromkeys([*found, *(spec["licence"] for spec in own)]))


def typed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A start's configuration without what it read from config/suites and config/rubrics, which are
    in code/: a start takes the rest as it would take it from a user.
    """
    return {key: value for key, value in config.items() if key not in ("suites", "rubrics")}


def with_data(choice: str, licences: Iterable[str]) -> bool:
    """Whether dialogues go into the archive, by the key archive.data."""
    return choice == "full" or (choice == "auto" and is_open(licences))


def reason_to_withhold(path: str, run: str, data: bool, weights: str) -> str:
    """Why a result stays out of the archive; empty if it does not."""
    mine = {f"results/runs/{run}/{part}" for part in WITH_WEIGHTS[weights]}
    if path not in mine and re.fullmatch(WEIGHTS, path):
        return "weights, or made from them in seconds"
    if not data and re.fullmatch(DATA, path):
        return "dialogues, questions or replies: left out by archive.data and the licences"
    return ""


def results_of(
    records: Mapping[str, Mapping[str, Any]], run: str, data: bool, weights: str
) -> Contents:
    """Every record, and every result that a record names, or its hash."""
    found = Contents(files={name: Path(name) for name in records})
    for name, record in records.items():
        for path, digest in record["outputs"].items():
            why = reason_to_withhold(path, run, data, weights)
            if why:
                found.withheld[path] = {"sha256": digest, "record": name, "why": why}
            elif Path(path).is_dir():
                found.files |= {f"{path}/{part}": Path(path, part) for part in list_files(path)}
            else:
                found.files[path] = Path(path)
    return found


def logs_of(known: Mapping[str, str], data: bool) -> dict[str, Content]:
    """Logs without paths, names and keys of the machine, and the benchmark files."""
    files: dict[str, Content] = {}
    for folder in ("logs", "benchmarks"):
        for name in list_files(folder):
            path = f"{folder}/{name}"
            mine = path.startswith(f"{folder}/archive/")  # its own, which is being written
            if not mine and (data or not re.fullmatch(QUOTES, path)):
                text = Path(path).read_text(encoding="utf-8", errors="replace")
                files[path] = scrub(text, known).encode()
    return files
