"""The ledger of the cleaning: every row goes to one of two files, once, with its reason, and is
counted.

What needs all dialogues to be known (near-duplicates, lines said too often, shares of sources) is
decided at the end, from arrays: a kept row takes about 400 bytes of memory, and its text stays in
a temporary file.
"""

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from mindtune.cli import UserError
from mindtune.data import census, readers, selection
from mindtune.data.cleaning import REPAIRS
from mindtune.data.duplicates import band_shape, copies_to_drop, similar_pairs, spoken_text
from mindtune.data.raw_row import RawRow
from mindtune.data.row_cleaning import Outcome

FIXES = (*REPAIRS, "role_name", "split", "pattern", "not_learned")


class Ids:
    """Unique ids: a row's own if nobody had it before, else file stem and row number."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def take(self, own: str | None, file: str, number: int) -> str:
        """An id that no earlier row has."""
        bare = file.split(".")[0]
        names = (own, f"{Path(bare).name}-{number}", f"{bare}-{number}", f"{file}#{number}")
        candidates = chain(names, (f"{file}#{number}-{again}" for again in count(2)))
        chosen = next(name for name in candidates if name and name not in self.taken)
        self.taken.add(chosen)
        return chosen


@dataclass
class FileFacts:
    """What is counted of a source file while it is read."""

    read: int = 0
    form: str | None = None
    rejected: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Writes every row to one of the two files and counts it."""

    def __init__(
        self,
        drafts: BinaryIO,
        originals: BinaryIO,
        rejected: BinaryIO,
        source_name: str,
        settings: Mapping[str, Any],
    ) -> None:
        self.drafts, self.originals, self.rejected = drafts, originals, rejected
        self.source_name, self.settings = source_name, settings
        self.ids = Ids()
        self.seen: dict[bytes, str] = {}
        self.files: dict[str, FileFacts] = {}
        # Of each kept row: its file, where its lines and its original end, how many dialogues it
        # gives, ...
        self.file_of, self.parts, self.fixes, self.census = (
            array("I"),
            array("I"),
            array("Q"),
            bytearray(),
        )
        self.draft_ends, self.original_ends = array("Q", [0]), array("Q", [0])
        self.bands, self.line_keys, self.line_rows = bytearray(), bytearray(), array("I")
        self.masked: dict[int, Counter[str]] = {}
        self.numbers: dict[int, list[str]] = {}
        self.patterns: Counter[str] = Counter()
        self.topics: dict[int, list[str]] = {}
        self.ids_before_split: dict[int, str] = {}
        self.tokens, self.turns = array("Q"), array("I")  # ... and of each dialogue
        self.chosen: list[int] = []
        self.clusters: dict[int, list[int]] = {}

    def add(self, file: str, row: RawRow, outcome: Outcome) -> None:
        """Decide about one row by itself and write it down."""
        facts = self.files.setdefault(file, FileFacts())
        if outcome.form and facts.form not in (None, outcome.form):
            raise UserError(
                f"{readers.where(file, row.number, row.byte)}: found the form {outcome.form}, "
                f"expected {facts.form} as in the "
                "rows before; give each form a file of its own"
            )
        facts.form = outcome.form or facts.form
        facts.read += 1
        facts.noticed.update(outcome.noticed)
        head = {
            "id": self.ids.take(outcome.own_id, file, row.number),
            "source": f"{self.source_name}:{file}#{row.number}",
        }
        reasons = outcome.reasons
        original = (readers.as_text if outcome.unreadable else readers.compact)(row.data)
        if not reasons and self.settings["steps"]["exact_duplicate"]:
            first = self.seen.setdefault(outcome.key, head["id"])
            if first != head["id"]:
                reasons, head = ["exact_duplicate"], head | {"copy_of": first}
        self.patterns.update(outcome.patterns)
        if reasons:
            facts.rejected[reasons[0]] += 1
            self.rejected.write(rejected_line(head, reasons, original))
        else:
            self._keep(file, row.number, head, outcome, original)

    def _keep(
        self, file: str, number: int, head: dict[str, str], outcome: Outcome, original: bytes
    ) -> None:
        index = len(self.parts)
        names = [head["id"]] if len(outcome.parts) == 1 else [
            self.ids.take(f"{head['id']}/{part}", file, number) for part in range(1,
                len(outcome.parts) + 1)
        ]  # fmt: skip
        source, fixes = orjson.dumps(head["source"]), orjson.dumps(outcome.fixes)
        lines = b"".join(
            b'{"id":%s,"conversations":%s,"source":%s,"fixes":%s,"crisis":"%s","crisis_turns":%s}\n'
            % (orjson.dumps(name), part, source, fixes, outcome.crisis.encode(), orjson.dumps(tags))
            for name, part, tags in zip(names, outcome.parts, outcome.crisis_turns, strict=True)
        )
        self.draft_ends.append(self.draft_ends[-1] + self.drafts.write(lines))
        self.original_ends.append(self.original_ends[-1] + self.originals.write(original))
        self.file_of.append(list(self.files).index(file))
        self.parts.append(len(outcome.parts))
        self.fixes.append(sum(1 << FIXES.index(name) for name in outcome.fixes))
        self.census.append(outcome.census)
        self.tokens.extend(outcome.tokens)
        self.turns.extend(outcome.turns)
        self.bands += outcome.bands
        self.line_keys += outcome.lines
        self.line_rows.extend([index] * (len(outcome.lines) // 8))
        if outcome.numbers:
            self.numbers[index] = outcome.numbers
        if outcome.masked:
            self.masked[index] = outcome.masked
        if outcome.topics:
            self.topics[index] = outcome.topics
        if len(names) > 1:
            self.ids_before_split[index] = head["id"]

    # ------------------------------------------------------------------------------------------------- when all are known  # noqa: E501

    def dialogues(self, index: int) -> list[dict[str, Any]]:
        """What a kept row gave, read back from the file."""
        return [
            orjson.loads(line) for line in _slice(self.drafts, self.draft_ends, index).splitlines()
        ]

    def finish(self, clean: BinaryIO, crisis: BinaryIO) -> None:
        """Decide what needs all rows, and write to `clean` what is kept, to `crisis` what of it a
        person should look at.
        """
        self.drafts.flush()
        self.originals.flush()
        gone: dict[int, dict[str, str]] = {}
        for index, first in self._near_duplicates().items():
            self.clusters.setdefault(first, []).append(index)
            gone[index] = {"reason": "near_duplicate", "copy_of": self.dialogues(first)[0]["id"]}
        if self.settings["steps"]["repeated_line"]:
            keys, rows = self.lines(gone)
            over = selection.over_cap(keys, rows, self.settings["max_line_repeats"])
            gone |= dict.fromkeys(over, {"reason": "repeated_line"})
        gone |= dict.fromkeys(self._over_share(gone), {"reason": "over_share"})
        for index, verdict in sorted(gone.items()):
            self._drop(index, **verdict)
        self.chosen = [index for index in range(len(self.parts)) if index not in gone]
        for index in self.chosen:
            clean.write(_slice(self.drafts, self.draft_ends, index))
            if self.census[index] or index in self.numbers:
                for row in self.dialogues(index):
                    line = census.listed(row, self.numbers.get(index, ()))
                    crisis.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def _near_duplicates(self) -> dict[int, int]:
        """Row -> the kept earlier row that it repeats."""
        if not self.bands:
            return {}
        near = self.settings["near_duplicates"]
        keys = np.frombuffer(self.bands, dtype=np.uint64).reshape(
            -1, band_shape(near["threshold"])[0]
        )

        def text_of(index: int) -> str:
            return "".join(spoken_text(row["conversations"]) for row in self.dialogues(index))

        return copies_to_drop(similar_pairs(keys, text_of, near["ngram_chars"], near["threshold"]))

    def lines(self, without: Iterable[int] = ()) -> tuple[np.ndarray, np.ndarray]:
        """Keys and rows of the counsellors' lines, those of some rows left out."""
        keys, rows = (
            np.frombuffer(self.line_keys, dtype=np.uint64),
            np.array(self.line_rows, dtype=np.int64),
        )
        stays = np.ones(len(self.parts), dtype=bool)
        stays[list(without)] = False
        return keys[stays[rows]], rows[stays[rows]]

    def _over_share(self, gone: Mapping[int, Any]) -> set[int]:
        sources = self.settings["sources"]
        if not sources:
            return set()
        names = list(self.files)
        left = [index for index in range(len(self.parts)) if index not in gone]
        ids = [self.dialogues(index)[0]["source"] for index in left]
        return {
            left[at]
            for at in selection.over_share(
                [names[self.file_of[index]] for index in left], ids, sources
            )
        }

    def _drop(self, index: int, reason: str, **more: str) -> None:
        row = self.dialogues(index)[0]
        identity = self.ids_before_split.get(index, row["id"])
        self.files[list(self.files)[self.file_of[index]]].rejected[reason] += 1
        head = {"id": identity, "source": row["source"]} | more
        self.rejected.write(
            rejected_line(head, [reason], _slice(self.originals, self.original_ends, index))
        )


def _slice(stream: BinaryIO, ends: array, index: int) -> bytes:
    return os.pread(stream.fileno(), ends[index + 1] - ends[index], ends[index])


def rejected_line(head: Mapping[str, str], reasons: list[str], original: bytes) -> bytes:
    """One line of rejected.jsonl; the original stands in it byte for byte."""
    start = orjson.dumps({"id": head["id"], "reasons": reasons} | dict(head))
    return start[:-1] + b',"original":' + original + b"}\n"
