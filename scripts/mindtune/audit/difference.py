"""What differs between two runs, or two archives: settings, data, code, packages, numbers.

Only records are read, so it takes no time; they stand side by side by their stage, whatever the
runs and data sets are called.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.verify_archive import shown as printable

from mindtune.audit.archived import archived_records
from mindtune.audit.comparing import is_measured, leaves_of
from mindtune.audit.folder import find_records
from mindtune.audit.jobs_done import noted_codes
from mindtune.audit.settings_changed import shown
from mindtune.audit.unpack import verified
from mindtune.cli import UserError
from mindtune.config import run_settings

HASH = re.compile(r"[0-9a-f]{64}")
SHARED = ("results/base/fetch_model.json", "results/base/fetch_tokenizer.json")
# Stages whose facts are results of an experiment, and not only counts of their own work
PARTS = ("settings", "data", "code", "packages", "numbers")
NUMBERS = ("train_lora", "pack_stats", "clean_dialogues", "split_dialogues")


@dataclass
class Side:
    """One of the two, as {name: value} a section."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    packages: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    stages: set[str] = field(default_factory=set)

    def only(self, stages: set[str]) -> "Side":
        """What the records of these stages say, and what stands in no record."""
        gone = tuple(self.stages - stages)
        parts = {
            part: {name: v for name, v in getattr(self, part).items() if not name.startswith(gone)}
            for part in PARTS
        }
        return Side(self.name, **parts, stages=stages) if gone else self


def side(given: str) -> Side:
    """A run of the results folder here, by its name, or an archive, by its file."""
    if Path(given).is_file():
        return archive_side(Path(given))
    records = find_records()
    mine = records_of_run(records, given)
    if not mine:
        runs = sorted({name.split("/")[2] for name in records if name.startswith("results/runs/")})
        raise UserError(
            f"{printable(given)} is no archive and no run here; give a file, or one of "
            f"{', '.join(runs) or '(no run)'}"
        )
    found, codes = from_records(given, mine), noted_codes()
    found.code = {mine[name]["stage"]: codes[name] for name in mine if name in codes}
    return found


def archive_side(path: Path) -> Side:
    """The run of a verified archive."""
    manifest = verified(path)
    found = from_records(
        path.name, records_of_run(archived_records(path, manifest), manifest["run"])
    )
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        for name in manifest["files"]:
            if name.startswith("environments/"):
                for line in archive.read(name).decode().splitlines():
                    package, _, version = line.partition("==")
                    found.packages[f"{Path(name).stem}: {package}"] = version
    config["train"] = run_settings(config, manifest["run"])
    settings = {path: value for path, value in leaves_of(config).items() if path[0] != "runs"}
    found.settings = {".".join(path): value for path, value in settings.items()}
    found.code = {
        name.removeprefix("code/"): about["sha256"]
        for name, about in manifest["files"].items()
        if name.startswith("code/")
    } | manifest["code"]
    return found


def records_of_run(records: Mapping[str, Any], run: str) -> dict[str, Any]:
    """The records of a run, of its data set and of the base."""
    mine = {name: r for name, r in records.items() if name.startswith(f"results/runs/{run}/")}
    read = {path for record in mine.values() for path in record["inputs"]}
    data = {match[1] for path in read if (match := re.match(r"(results/data/[^/]+/)", path))}
    return mine | {
        name: record
        for name, record in records.items()
        if mine and (name in SHARED or any(name.startswith(folder) for folder in data))
    }


def from_records(name: str, records: Mapping[str, Any]) -> Side:
    """The sections that records fill."""
    found = Side(name)
    for record in records.values():
        stage = record["stage"]
        found.stages.add(stage)
        for path, value in leaves_of(record["params"]).items():
            if not path:  # no params
                continue
            part = "data" if HASH.fullmatch(str(value)) else "settings"
            getattr(found, part)[f"{stage}.{'.'.join(path)}"] = value
        if stage in ("clean_dialogues", "split_dialogues", "fetch_dataset", "fetch_model"):
            found.data |= {f"{stage}: {Path(p).name}": d for p, d in record["outputs"].items()}
        found.packages |= {f"{stage}: {package}": v for package, v in record["env"].items()}
        found.numbers |= dict(numbers(stage, record["facts"]))
    return found


def numbers(stage: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What came out: scores with their intervals, and the plain numbers of some stages."""
    for row in facts.get("rows") or () if isinstance(facts.get("rows"), list) else ():
        if isinstance(row, dict) and {"metric", "value"} <= row.keys():
            low, high = row.get("low"), row.get("high")
            interval = f" [{low}, {high}]" if low is not None and high is not None else ""
            yield f"{row.get('system', stage)} {row['metric']}", f"{row['value']}{interval}"
    if stage in NUMBERS:
        for path, value in leaves_of(facts).items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and len(path) < 3 and not is_measured(path):
                yield f"{stage} {'.'.join(path)}", f"{value:.6g}"


def difference(one: Side, other: Side) -> list[str]:
    """The sections, a line for everything that differs; a section without a difference says so."""
    lines = [f"A is {one.name}, B is {other.name}."]
    for name, mine, others in (("A", one, other), ("B", other, one)):
        if more := sorted(mine.stages - others.stages):
            lines.append(f"only {name} has {', '.join(more)}")
    both = one.stages & other.stages
    one, other = one.only(both), other.only(both)
    for part in PARTS:
        old, new = getattr(one, part), getattr(other, part)
        names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        if not old and not new:
            lines.append(f"{part}: nothing is known")
        elif not names:
            lines.append(f"{part}: all {len(old)} are the same")
        else:
            lines.append(f"{part}: {len(names)} of {len(old.keys() | new.keys())} differ")
            lines += [f"    {name}: {change(name, old, new)}" for name in names]
    return lines


def change(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """`A -> B`; hashes are cut, since only their difference matters."""
    return " -> ".join(
        short(values[name]) if name in values else "(not there)" for values in (old, new)
    )


def short(value: Any) -> str:
    """A value on a line."""
    text = shown(value)
    return text[:12] if HASH.fullmatch(text) else text
