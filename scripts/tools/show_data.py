"""Look at somebody's data before any configuration: which files, which form, what cleaning would
keep of the first rows, and three of them.

Reads   a file or a folder of dialogues, config/hotlines.yaml
Writes  nothing

Rows are judged one by one, by the default settings. Near-duplicates, lines said too often and
lengths in tokens need the whole set and the model's tokenizer: `clean_dialogues` judges these.
"""

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.config import read_schema, with_defaults
from mindtune.data import forms, hub, readers
from mindtune.data.cleaning import Cleaner
from mindtune.data.form_shapes import nearest_form
from mindtune.data.noticed import WHAT, noticed
from mindtune.data.personal_data import load_hotlines
from mindtune.data.raw_row import Unreadable
from mindtune.data.rejections import Turns

SECONDS = 3.5  # for all files together; starting takes another second
SHOWN, SHOWN_CHARS, SHOWN_TURNS, LISTED = 3, 100, 6, 20
SPECIAL = re.compile(r"<\|[A-Za-z_]+\|>")  # the shape of special tokens, no tokenizer being there


@dataclass
class Seen:
    """What the rows of a file were."""

    read: int = 0
    kept: int = 0
    whole: bool = False
    forms: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    fixes: Counter = field(default_factory=Counter)
    noticed: Counter = field(default_factory=Counter)
    unknown: str = ""
    shown: list[tuple[int, Turns]] = field(default_factory=list)


def default_cleaner(hotlines: Path) -> Cleaner:
    """The cleaning steps by the schema's defaults."""
    clean = with_defaults({}, read_schema()["properties"]["data"])["clean"]
    return Cleaner(
        clean["steps"], {}, clean["min_turns"], clean["languages"], load_hotlines(hotlines), SPECIAL
    )


def look(folder: Path, name: str, cleaner: Cleaner, until: float, seen: Seen) -> None:
    """Read and judge rows of a file until a time."""
    seen.whole = False
    for row in readers.raw_rows(folder, name):
        if seen.read and time.monotonic() > until:
            return
        seen.read += 1
        judge(row, name, cleaner, seen)
    seen.whole = True


def judge(row: readers.RawRow, name: str, cleaner: Cleaner, seen: Seen) -> None:
    """One row: its form, and what the cleaning says."""
    try:
        content = readers.parse(row, name)
    except Unreadable as error:
        if row.open_end:
            raise
        seen.forms["not JSON"] += 1
        seen.unknown = seen.unknown or str(error)
        return
    seen.noticed.update(noticed(row.data))
    form = forms.detect_form(content)
    turns = forms.read_turns(content, form) if form else None
    seen.forms[form or ("no turns" if form == "" else "unknown")] += 1
    if turns is None:
        seen.reasons["malformed"] += 1
        if form is None and not seen.unknown:
            seen.unknown = f"row {row.number} has {nearest_form(content)}"
        return
    cleaned = cleaner.clean(turns)
    seen.fixes.update(cleaned.fixes)
    seen.reasons.update(cleaned.reasons[:1])
    if not cleaned.reasons:
        seen.kept += 1
        if len(seen.shown) < SHOWN:
            seen.shown.append((row.number, cleaned.turns))


def tell(name: str, seen: Seen) -> None:
    """Print what was found in a file."""
    rows = f"{seen.read:,} rows" if seen.whole else f"its first {seen.read:,} rows"
    print(f"{name}: {rows}, {counted(seen.forms) or 'empty'}")
    if seen.forms["preference"]:
        print("  pairs of replies: the chosen one is taken, the rejected one is not read")
    if len(set(seen.forms) - {"unknown", "no turns", "not JSON"}) > 1:
        print("  more than one form: give each a file of its own, or cleaning stops")
    if seen.unknown:
        print(f"  {seen.unknown}")
    print(f"  would be kept: {seen.kept:,} of {seen.read:,}")
    for what, counts in (("rejected", seen.reasons), ("repaired", seen.fixes)):
        if counts:
            print(f"  {what}: {counted(counts)}")
    for what, count in seen.noticed.items():
        print(f"  {count:,} rows with {WHAT[what]}")
    for number, turns in seen.shown:
        print(f"  row {number}, as it would be kept:")
        for role, text in turns[:SHOWN_TURNS]:
            more = f" ... ({len(text):,} characters)" if len(text) > SHOWN_CHARS else ""
            print(f"    {role}: {text[:SHOWN_CHARS]!r}{more}")
        if len(turns) > SHOWN_TURNS:
            print(f"    ... {len(turns) - SHOWN_TURNS} turns more")


def counted(counts: Counter) -> str:
    """Names with their numbers, most first."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common() if count)


def files_of(data: Path) -> tuple[Path, list[str], dict[str, str]]:
    """(folder, data files in it, what is beside them and why it is not read)."""
    if data.is_file():
        if not readers.kind_of(data.name):
            raise UserError(
                f"{data} is no data file by its name; expected one of "
                f"{', '.join(readers.SUFFIXES)}, plain or packed as .gz or .zst"
            )
        return data.parent, [data.name], {}
    if not data.is_dir():
        raise UserError(f"DATA is {str(data)!r}, which is no file and no folder; correct it")
    names = readers.data_files(data)[0]
    return data, names, hub.left_behind(data, names)


def look_at_each(folder: Path, names: list[str], cleaner: Cleaner, until: float) -> None:
    """Tell of every file by itself; each gets its share of the time."""
    shown = 0
    for left, name in zip(range(len(names), 0, -1), names, strict=True):
        seen, now = Seen(), time.monotonic()
        try:
            look(folder, name, cleaner, now + (until - now) / left, seen)
        except UserError as error:
            print(f"{name!r}: {error}")
            continue
        seen.shown = seen.shown[: SHOWN - shown]
        shown += len(seen.shown)
        tell(repr(name), seen)


def look_at_all(folder: Path, names: list[str], cleaner: Cleaner, until: float) -> None:
    """Tell of many files, such as one dialogue a file, as one."""
    seen = Seen()
    for looked_at, name in enumerate(names):  # noqa: B007 (it says how far the time was enough)
        if time.monotonic() > until:
            break
        try:
            look(folder, name, cleaner, until, seen)
        except UserError as error:
            print(f"{name!r}: {error}")
    else:
        looked_at = len(names)
    tell(f"{looked_at:,} of {len(names):,} files", seen)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a file or folder of dialogues")
    parser.add_argument("--hotlines", type=Path, required=True)
    arguments = parser.parse_args()
    folder, names, beside = files_of(arguments.data)
    cleaner, until = default_cleaner(arguments.hotlines), time.monotonic() + SECONDS
    if len(names) <= LISTED:
        look_at_each(folder, names, cleaner, until)
    else:
        look_at_all(folder, names, cleaner, until)
    for name, why in beside.items():
        print(f"not read: {name!r} ({why})")


if __name__ == "__main__":
    raise SystemExit(run(main))
