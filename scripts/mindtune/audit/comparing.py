"""Compare what was made again with what an archive holds: identical, within tolerance, different.

Equal bytes are identical. What a machine measures of itself (seconds, bytes of memory, tokens a
second) is another number each time, so a record that differs in nothing else is within tolerance,
as are numbers that differ by less than a given share; a hash counts as equal where the file that it
is of is itself identical or within tolerance.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mindtune.audit.packing import unpack
from mindtune.records import to_json

IDENTICAL, WITHIN, DIFFERENT, MISSING = "identical", "within tolerance", "different", "missing"
MEASURED = re.compile(
    r"(^|_)(s|ms|seconds|milliseconds|minutes|hours|dollars|joules|rss|mib|gib|mb|time|times|elapsed"
    r"|latency|ttft|tpot|duration|pid|port|throughput|speed|speeds)(_|$)|per_s(econd)?(_|$)|_at$|^(p50|p90|p95|p99)$"
)
LINEAGE = "results/report/lineage.html"
NUMBER = re.compile(r"[0-9a-f]{64}|-?\d+(?:[.,]\d+)*(?:e-?\d+)?")


def is_measured(path: tuple[str, ...]) -> bool:
    """Whether a leaf of a record is a time, a speed or a size of memory, by the words of its
    key.
    """
    return any(MEASURED.search(word.lower()) for word in path)


def near(one: Any, other: Any, share: float) -> bool:
    """Whether two numbers differ by at most a share of the larger one."""
    both = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))
    return both and math.isclose(one, other, rel_tol=share, abs_tol=share * 1e-6)


def leaves_of(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """{path: value} of every leaf of JSON, lists included."""
    if isinstance(value, dict) and value:
        parts = value.items()
    elif isinstance(value, list) and value:
        parts = ((str(number), part) for number, part in enumerate(value))
    else:
        return {path: value}
    return {k: v for name, part in parts for k, v in leaves_of(part, (*path, name)).items()}


def json_fault(old: str, new: str, share: float, same: Callable[[str], bool]) -> str:
    """The first leaf in which two records differ more than they may; empty if there is none.
    `same` says of a path whether its file is identical or within tolerance.
    """
    sides = [leaves_of(json.loads(text)) for text in (old, new)]
    for path in sorted(sides[0].keys() | sides[1].keys()):
        one, other = (side.get(path) for side in sides)
        if one == other or path == ("seal",) or near(one, other, share):
            continue
        if path[0] != "params" and is_measured(path):
            continue
        if len(path) > 1 and path[0] in ("inputs", "outputs") and same(path[1]):
            continue
        return f"{'.'.join(path)} was {str(one)[:80]} and is {str(other)[:80]}"
    return ""


def table_fault(old: str, new: str, share: float) -> str:
    """As `json_fault`, for a CSV file."""
    sides = [list(csv.reader(io.StringIO(text))) for text in (old, new)]
    if [len(row) for row in sides[0]] != [len(row) for row in sides[1]]:
        return "it has other rows or columns"
    header = sides[0][0] if sides[0] else []
    for number, (row, again) in enumerate(zip(*sides, strict=True)):
        for name, one, other in zip(header, row, again, strict=False):
            if (
                one != other
                and not is_measured((name,))
                and not near(to_number(one), to_number(other), share)
            ):
                return f"row {number + 1}, {name} was {one[:40]} and is {other[:40]}"
    return ""


def to_number(text: str) -> float | None:
    """A number in a table, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def page_fault(old: str, new: str) -> str:
    """As `json_fault`, for the report: a page is made from records, which are compared one by one,
    so its words must be the same, whatever its numbers and hashes are.
    """
    return "" if NUMBER.sub("#", old) == NUMBER.sub("#", new) else "its words differ"


def lineage_fault(old: str, new: str) -> str:
    """As `page_fault`, for the lineage page, whose data are packed. Times and the ends of logs are
    of the run that made them.
    """
    sides = []
    for text in (old, new):
        data = unpack(text)
        for job in data["jobs"]:
            for measured in ("seconds", "tail"):
                job.pop(measured, None)
        sides.append(NUMBER.sub("#", to_json(data)))
    return "" if sides[0] == sides[1] else "it shows other jobs, files or settings"


def fault(name: str, old: bytes, new: bytes, share: float, same: Callable[[str], bool]) -> str:
    """Why two versions of a file are more than a tolerance apart; empty if they are not."""
    try:
        one, other = old.decode("utf-8"), new.decode("utf-8")
        if name.endswith(".json"):
            return json_fault(one, other, share, same)
        if name.endswith(".csv"):
            return table_fault(one, other, share)
        if name == LINEAGE:
            return lineage_fault(one, other)
        if name.endswith(".html"):
            return page_fault(one, other)
    except (UnicodeDecodeError, ValueError):
        pass
    return "its bytes differ"


def compare(
    archived: Path, work: Path, expected: Mapping[str, str], hashes: Mapping[str, str], share: float
) -> dict[str, tuple[str, str]]:
    """{path: (verdict, why)}: `expected` holds the SHA-256 of what the archive has of each path,
    `hashes` of what lies in `work` now; files are looked at again until nothing changes, since a
    record names the hashes of others.
    """
    found: dict[str, tuple[str, str]] = {}
    for path, digest in expected.items():
        if path not in hashes:
            found[path] = MISSING, "it was not made again"
        else:
            found[path] = (
                (IDENTICAL, "") if hashes[path] == digest else (DIFFERENT, "its bytes differ")
            )

    def same(path: str) -> bool:
        return found.get(path, (DIFFERENT, ""))[0] in (IDENTICAL, WITHIN)

    while True:
        before = {path for path in found if same(path)}
        for path in sorted(found.keys() - before):
            if found[path][0] == DIFFERENT and (archived / path).is_file():
                old, new = (archived / path).read_bytes(), (work / path).read_bytes()
                why = fault(path, old, new, share, same)
                found[path] = (DIFFERENT, why) if why else (WITHIN, "measured numbers differ")
        if before == {path for path in found if same(path)}:
            return found
