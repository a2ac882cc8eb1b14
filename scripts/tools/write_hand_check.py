"""Measure cleaning's verdicts on the labelled rows, and write them into docs/data-hand-check.md.

Reads   tests/judgement/reasons.jsonl, repairs.jsonl (a step, turns, and what a careful person does
        with them) and crisis.jsonl (a text, and whether it speaks of suicide, self-harm or killing)
Writes  the tables between the two marks of docs/data-hand-check.md
"""

import functools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import UserError, argument_parser, run
from mindtune.data.cleaning import STEPS, Cleaner
from mindtune.data.crisis import speaks_of_it
from mindtune.data.personal_data import Hotlines, load_hotlines
from mindtune.records import write_text

ROOT = Path(__file__).resolve().parents[2]
ROWS, PAGE = ROOT / "tests/judgement", ROOT / "docs/data-hand-check.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
SPECIAL = re.compile(r"<\|im_end\|>|<\|im_start\|>|<\|endoftext\|>")


@dataclass
class Measured:
    """Right and wrong verdicts of one step: hits are what it should and did do."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    left: int = 0

    @property
    def precision(self) -> float:
        """Of what the step did, the share that was right."""
        return self.hits / max(self.hits + self.false, 1)

    @property
    def recall(self) -> float:
        """Of what the step should have done, the share that it did."""
        return self.hits / max(self.hits + self.missed, 1)

    def line(self, name: str) -> str:
        """A line of the table."""
        return (
            f"| {name} | {self.hits + self.false} | {self.precision:.3f} | "
            f"{self.hits + self.missed} | {self.recall:.3f} | {self.left} |\n"
        )


def read(name: str) -> list[dict[str, Any]]:
    """The labelled rows of one file."""
    text = (ROWS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def alone(step: str) -> Cleaner:
    """A cleaner with this step alone."""
    steps = {name: name == step for name in STEPS}
    return Cleaner(steps, {}, 2, ["zh", "en"], hotlines(), SPECIAL)


@functools.cache
def hotlines() -> Hotlines:
    """The help lines of the project."""
    return load_hotlines(ROOT / "config/hotlines.yaml")


def judged(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bool, bool, bool]]:
    """(row, whether the step should act, whether it did, whether what came out is right)."""
    cleaners: dict[str, Cleaner] = {}
    for row in rows:
        cleaner = cleaners.setdefault(row["step"], alone(row["step"]))
        turns = [(role, text) for role, text in row["turns"]]
        done = cleaner.clean(turns)
        if "verdict" in row:
            acted, wanted = row["step"] in done.reasons, row["verdict"] == "reject"
            yield row, wanted, acted, acted == wanted
        else:
            right = [(role, text) for role, text in row["right"]]
            yield row, right != turns, row["step"] in done.fixes, done.turns == right


def add(measured: Measured, wanted: bool, acted: bool, right: bool) -> None:
    """Count one verdict. A repair that acts and does another thing is both false and missed."""
    measured.hits += acted and right
    measured.false += acted and not right
    measured.missed += wanted and not (acted and right)
    measured.left += not wanted and not acted


def by_step(rows: Iterable[dict[str, Any]]) -> dict[str, Measured]:
    """Every step's figures on its labelled rows."""
    measured: dict[str, Measured] = {}
    for row, wanted, acted, right in judged(rows):
        add(measured.setdefault(row["step"], Measured()), wanted, acted, right)
    return measured


def crisis() -> dict[str, Measured]:
    """The crisis words' figures by language."""
    measured: dict[str, Measured] = {}
    for row in read("crisis"):
        found = bool(speaks_of_it(row["text"]))
        figures = measured.setdefault(row["language"], Measured())
        add(figures, row["speaks"], found, found == row["speaks"])
    return measured


def tables() -> str:
    """All tables, as Markdown."""
    head = (
        "| {} | acted | precision | should act | recall | rightly left "
        "|\n|---|---:|---:|---:|---:|---:|\n"
    )
    parts = []
    for name, title in (("reasons", "rejected for"), ("repairs", "repaired")):
        styles = Counter(row["style"] for row in read(name))
        lines = "".join(figures.line(step) for step, figures in by_step(read(name)).items())
        parts.append(
            head.format(title) + lines + f"\n{styles.total()} rows in {len(styles)} styles.\n"
        )
    lines = "".join(figures.line(language) for language, figures in crisis().items())
    return "\n".join((*parts, head.format("crisis words") + lines))


def page(old: str) -> str:
    """The page with the tables of today; UserError where its marks are missing."""
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"{PAGE} has lost a mark, {BEGIN.strip()} or {END.strip()}; put it back")
    return before + BEGIN + "\n" + tables() + "\n" + END + after


def main() -> None:
    argument_parser(__doc__).parse_args()
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    raise SystemExit(run(main))
