"""How long jobs took the last time, from Snakemake's benchmark files, and times in words."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def gpu_of(value: Any) -> int:
    """The number of GPUs that a job asks for; a value that is not known yet counts as none."""
    return value if isinstance(value, int) else 0


def last_seconds(path: Path) -> float | None:
    """Wall seconds of the last run in a benchmark file; None if it is not there or torn."""
    try:
        with open(path, encoding="utf-8") as stream:
            return float(list(csv.DictReader(stream, delimiter="\t"))[-1]["s"])
    except (OSError, ValueError, LookupError):
        return None


def rule_seconds(benchmarks: Iterable[tuple[str, str | None]]) -> dict[str, float]:
    """{rule: the longest last run of any of its jobs}, from (rule, benchmark file) pairs."""
    found: dict[str, float] = {}
    for rule, path in benchmarks:
        seconds = last_seconds(Path(path)) if path else None
        if seconds is not None:
            found[rule] = max(seconds, found.get(rule, 0.0))
    return found


def in_words(seconds: float) -> str:
    """`53 s`, `2 min 27 s`, `2 h 40 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole else "less than 1 s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(whole / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
