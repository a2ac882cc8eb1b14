"""What the lineage page knows: jobs, files, arrows, numbers of the evaluation, from Snakemake's
graph, the records, the benchmarks and the logs.

What is not known is left out, never invented.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from mindtune.audit.contents import QUOTES
from mindtune.audit.graphs import family
from mindtune.audit.jobs_done import DoneJob
from mindtune.audit.scrub import scrub
from mindtune.audit.timing import last_seconds
from mindtune.records import to_json

Job = Mapping[str, Any]

# Bytes at the end of a log in which its last lines are looked for, and signs of a line that stay
WINDOW, LINE = 1 << 16, 240
# A page of many jobs shows fewer lines of each log, and fewer systems of each evaluation
LINES, FEW_LINES, MANY_JOBS = 15, 3, 300
MANY_ROWS = 4000
# A start is named by its content, places of environments among it
START = re.compile(r"(?<=\.snakemake/mindtune/)[0-9a-f]{16}(?=\.json)")
# Signs of a param's value and of a command that stay; the record and Snakemake's notes have all
SETTING, COMMAND = 400, 4000


def tail(path: Path, known: Mapping[str, str], lines: int) -> str:
    """The last lines of a log without places, names and keys of the machine; of a progress bar
    its last state.
    """
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - WINDOW))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    text = text if size <= WINDOW else text.partition("\n")[2]
    states = [line.rstrip("\r").rpartition("\r")[2] for line in scrub(text, known).split("\n")]
    shown = [line.rstrip() for line in states if line.strip()][-lines:]
    return "\n".join(line if len(line) <= LINE else line[:LINE] + " …" for line in shown)


def settings_of(params: Mapping[str, Any]) -> list[list[str]]:
    """[name, value] of a record's params, those of inner objects by their path."""
    found = []
    for name, value in sorted(params.items()):
        if isinstance(value, dict) and value:
            found += [[f"{name}.{inner}", text] for inner, text in settings_of(value)]
        else:
            text = value if isinstance(value, str) else to_json(value, indent=None)
            found.append([name, text if len(text) <= SETTING else text[:SETTING] + " …"])
    return found


def hashes_of(records: Mapping[str, Mapping[str, Any]], known: Mapping[str, str]) -> dict[str, str]:
    """{path: SHA-256} of all that the records name, without places of this machine; what a stage
    made counts more than what another one read.
    """
    read = {
        path: digest for record in records.values() for path, digest in record["inputs"].items()
    }
    made = {
        path: digest for record in records.values() for path, digest in record["outputs"].items()
    }
    return {scrub(path, known): digest for path, digest in (read | made).items()}


def seconds_of(job: Job, noted: DoneJob | None) -> float | None:
    """Wall seconds of a job: by its benchmark, else by what Snakemake noted, in whole seconds."""
    measured = last_seconds(Path(job["benchmark"])) if job["benchmark"] else None
    if measured is None and noted:
        measured = (
            datetime.fromisoformat(noted.end) - datetime.fromisoformat(noted.start)
        ).total_seconds()
    return measured


def command_lines(command: str) -> str:
    """A command with a flag a line."""
    return re.sub(r" \\? ?(?=--?[a-z][\w-]*[ =])", " \\\n  ", command)


def without_places(jobs: Sequence[Job], known: Mapping[str, str]) -> list[dict[str, Any]]:
    """Snakemake's jobs, their files without places of this machine."""
    return [
        {**job, **{side: sorted(scrub(path, known) for path in job[side])
                   for side in ("inputs", "outputs")}}
        for job in jobs
    ]  # fmt: skip


class Pool:
    """Values by number, each of them once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.values: list[Any] = []

    def number(self, value: Any) -> int:
        """The number of a value that JSON can hold."""
        key = to_json(value, indent=None)
        if key not in self.numbers:
            self.numbers[key] = len(self.values)
            self.values.append(value)
        return self.numbers[key]


class Describer:
    """Makes the page's entries of jobs; environments and params that jobs share are kept once."""

    def __init__(
        self,
        jobs: Sequence[Job],
        records: Mapping[str, Mapping[str, Any]],
        done: Iterable[DoneJob],
        known: Mapping[str, str],
    ) -> None:
        self.records, self.known = records, known
        self.noted = {output: job for job in done for output in job.outputs}
        self.lines = LINES if len(jobs) <= MANY_JOBS else FEW_LINES
        self.paths = sorted({path for job in jobs for path in (*job["inputs"], *job["outputs"])})
        self.place = {path: number for number, path in enumerate(self.paths)}
        self.commands, self.environments, self.settings = Pool(), Pool(), Pool()
        self.clean = cache(lambda text: START.sub("<start>", scrub(text, known)))

    def job(self, job: Job) -> dict[str, Any]:
        """All that is known of a job; of its logs the first that quotes no server."""
        made = next((self.noted[path] for path in job["outputs"] if path in self.noted), None)
        log = next((path for path in job["logs"] if not re.fullmatch(QUOTES, path)), None)
        about = {
            "rule": job["rule"],
            "about": "/".join(job["wildcards"].values()),
            "needs": job["needs"],
            "in": [self.place[path] for path in job["inputs"]],
            "out": [self.place[path] for path in job["outputs"]],
            **self.command(job, made),
            "seconds": seconds_of(job, made),
            "log": log,
            "tail": tail(Path(log), self.known, self.lines) if log else None,
            **self.recorded(job),
        }
        return {name: value for name, value in about.items() if value not in (None, "")}

    def command(self, job: Job, made: DoneJob | None) -> dict[str, Any]:
        """The number of the command that ran, or would. The job's own names stand in it as {run} or
        {suite}, so that the jobs of a rule share it; `names` says which, in the order of `about`.
        """
        whole = self.clean(made.command if made else job["command"])
        text = command_lines(whole[:COMMAND] + " …" if len(whole) > COMMAND else whole)
        names = {f"{{{name}}}": value for name, value in job["wildcards"].items()}
        if any(name in text for name in names):  # braces of its own
            names = {}
        for name, value in names.items():
            text = re.sub(rf"(?<![\w{{-]){re.escape(value)}(?![\w}}-])", name, text)
        return {"command": self.commands.number(text), "names": list(names)}

    def recorded(self, job: Job) -> dict[str, Any]:
        """What the record of a job says: its params and packages."""
        path = next((path for path in job["outputs"] if path in self.records), None)
        if path is None:
            return {}
        record = self.records[path]
        params = [[name, self.clean(value)] for name, value in settings_of(record["params"])]
        return {
            "record": path,
            "settings": self.settings.number(params),
            "environment": self.environments.number(sorted(record["env"].items())),
        }

    def page(self, jobs: Sequence[Job], hashes: Mapping[str, str]) -> dict[str, Any]:
        """{jobs, files, hashes, commands, environments, settings} of the page; `hashes` has the
        SHA-256 of each file or nothing, with commas between: apart from the names they pack best.
        """
        return {
            "jobs": [self.job(job) for job in jobs],
            "files": self.paths,
            "hashes": ",".join(hashes.get(path, "") for path in self.paths),
            "commands": self.commands.values,
            "environments": self.environments.values,
            "settings": self.settings.values,
        }


def describe_rules(jobs: Sequence[Job]) -> list[dict[str, str]]:
    """Name, stage and docstring of each rule, by name."""
    found = {job["rule"]: {"name": job["rule"], "stage": family(job), "doc": job["doc"]}
             for job in jobs}  # fmt: skip
    return [found[name] for name in sorted(found)]


def numbers_of(table: Path, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """The evaluation by run and suite, each with the job that scored it; of many rows those of the
    tuned model and of its difference to the base.
    """
    with open(table, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if len(rows) > MANY_ROWS:
        rows = [row for row in rows if row["system"].startswith("tuned")]
    maker = {path: number for number, job in enumerate(jobs) for path in job["outputs"]}
    found: dict[tuple[str, str], list[list[str]]] = {}
    for row in rows:
        value = row["value"] + (f" [{row['low']}, {row['high']}]" if row["low"] else "")
        cell = [row["system"], row["metric"], value, row["n"]]
        found.setdefault((row["run"], row["suite"]), []).append(cell)
    return [
        {"run": run, "suite": suite, "rows": cells,
         "job": maker.get(f"results/runs/{run}/scores/{suite}.json")}
        for (run, suite), cells in found.items()
    ]  # fmt: skip
