"""The part of the cleaning that looks at one row alone.

A worker parses, repairs and judges a row, counts its tokens once, cuts it at turn boundaries where
it is over long and that is wished, and signs it for the search for near-duplicates.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mindtune.chat_template import load_chat, special_pattern
from mindtune.cli import UserError
from mindtune.data import census, forms, readers
from mindtune.data.cleaning import Cleaned, Cleaner
from mindtune.data.duplicates import band_keys, line_keys, spoken_text
from mindtune.data.fields import mapped
from mindtune.data.form_shapes import nearest_form
from mindtune.data.hotlines import load_hotlines
from mindtune.data.labels import is_learned
from mindtune.data.lengths import Conversations, Lengths
from mindtune.data.noticed import noticed
from mindtune.data.personal_data import numbers_to_look_at
from mindtune.data.raw_row import RawRow, Unreadable
from mindtune.data.rejections import Turns

# A piece of work for one process: large enough to hide its hand-over, small enough to bound memory.
CHUNK_ROWS, CHUNK_BYTES = 400, 4 << 20


@dataclass(frozen=True)
class Chunk:
    """Rows of one file, in order."""

    file: str
    rows: list[RawRow]


@dataclass(slots=True)
class Outcome:
    """What a worker found out about one row.

    `parts` are the dialogues that it gives, as JSON: one, or several where an over-long one was
    cut; `tokens`, `turns` and `crisis_turns` are of each part. `key` and `bands` are of the whole.
    """

    own_id: str | None
    form: str | None
    parts: list[bytes] = field(default_factory=list)
    fixes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    masked: Counter[str] = field(default_factory=Counter)
    key: bytes = b""
    turns: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    bands: bytes = b""
    lines: bytes = b""
    census: int = 0
    noticed: list[str] = field(default_factory=list)
    unreadable: bool = False
    crisis: str = "none"
    crisis_turns: list[list[str]] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    patterns: Counter[str] = field(default_factory=Counter)
    topics: list[str] = field(default_factory=list)


class Worker:
    """Everything that a process loads once."""

    def __init__(self, settings: dict[str, Any], tokenizer: str, hotlines: str) -> None:
        self.settings, self.steps = settings, settings["steps"]
        chat = load_chat(tokenizer)
        self.lengths = Lengths(
            chat,
            settings["max_tokens"] if self.steps["over_long"] else None,
            settings["over_long"] == "split",
        )
        self.hotlines = load_hotlines(hotlines)
        self.cleaner = Cleaner(
            self.steps,
            settings["role_map"],
            settings["min_turns"],
            settings["languages"],
            self.hotlines,
            special_pattern(chat),
            settings["patterns"],
            settings["bad_turns"],
        )

    def work(self, chunk: Chunk) -> list[Outcome]:
        """Parse, clean and measure the rows of a chunk."""
        outcomes, kept = [], []
        for row in chunk.rows:
            outcome, cleaned = self.clean_row(row, chunk.file)
            outcomes.append(outcome)
            if not outcome.reasons:
                conversations = [_written(turn) for turn in cleaned.turns]
                try:
                    whole = orjson.dumps(conversations)
                except orjson.JSONEncodeError:  # lone surrogates that no step was allowed to drop
                    outcome.reasons.append("malformed")
                    continue
                outcome.parts, outcome.key = (
                    [whole],
                    hashlib.blake2b(whole, digest_size=16).digest(),
                )
                kept.append((outcome, conversations))
        self._measure(kept)
        for outcome, conversations in kept:
            if not outcome.reasons:
                self._tag(outcome, [(turn["from"], turn["value"]) for turn in conversations])
        self._sign([pair for pair in kept if not pair[0].reasons])
        return outcomes

    def _tag(self, outcome: Outcome, turns: Turns) -> None:
        """Tag what is said of suicide and self-harm; the policy may drop the dialogue for it."""
        tags = census.tag(turns, self.hotlines)
        outcome.census, outcome.crisis = tags.flags, tags.verdict
        outcome.crisis_turns = _cut_tags(tags.turns, turns[0][0] == "system", outcome.turns)
        outcome.numbers = [
            number for _, text in turns for number in numbers_to_look_at(text, self.hotlines)
        ]
        if not census.keeps(tags, self.settings["crisis"]):
            outcome.reasons.append("crisis")

    def read(self, row: RawRow, file: str) -> Turns | None:
        """The (label, text) turns of a row as they stand there; None where it has none."""
        return self._parsed(row, file)[2]

    def _parsed(self, row: RawRow, file: str) -> tuple[Any, str | None, Turns | None]:
        content = mapped(readers.parse(row, file), self.settings["fields"])
        form = (
            forms.detect_form(content) if self.settings["form"] == "auto" else self.settings["form"]
        )
        return (
            content,
            form,
            forms.read_turns(content, form) if form else ([] if form == "" else None),
        )

    def clean_row(self, row: RawRow, file: str, **watch: Any) -> tuple[Outcome, Cleaned]:
        """One row, parsed, repaired and judged by itself. A row that is not JSON costs itself, but
        for one that ends its file in the middle: that file is cut off.
        """
        try:
            content, form, turns = self._parsed(row, file)
        except Unreadable:
            if row.open_end:
                raise
            return Outcome(None, None, reasons=["malformed"], unreadable=True), Cleaned([])
        own_id = content.get("id") if isinstance(content, dict) else None
        outcome = Outcome(
            str(own_id) if isinstance(own_id, str | int) and str(own_id).isprintable() else None,
            form,
            noticed=noticed(row.data),
        )
        if turns is None:
            outcome.reasons.append("malformed")
            return outcome, Cleaned([])
        cleaned = self.cleaner.clean(turns, **watch)
        outcome.fixes, outcome.reasons = cleaned.fixes, cleaned.reasons
        outcome.masked, outcome.patterns = cleaned.masked, cleaned.patterns
        outcome.topics = cleaned.topics
        return outcome, cleaned

    def _measure(self, kept: list[tuple[Outcome, Conversations]]) -> None:
        """Count exact tokens, and cut or reject what is over long."""
        measured = self.lengths.parts([conversations for _, conversations in kept])
        for (outcome, conversations), parts in zip(kept, measured, strict=True):
            if not parts:
                outcome.reasons.append("over_long")
            if len(parts) > 1:
                outcome.fixes.append("split")
            if [conversations] != [part for part, _ in parts]:
                outcome.parts = [orjson.dumps(part) for part, _ in parts]
            outcome.tokens = [tokens for _, tokens in parts]
            outcome.turns = [sum(turn["from"] != "system" for turn in part) for part, _ in parts]

    def _sign(self, kept: list[tuple[Outcome, Conversations]]) -> None:
        if kept and self.steps["near_duplicate"]:
            near = self.settings["near_duplicates"]
            texts = [spoken_text(conversations) for _, conversations in kept]
            for (outcome, _), bands in zip(
                kept, band_keys(texts, near["ngram_chars"], near["threshold"]), strict=True
            ):
                outcome.bands = bands.tobytes()
        for outcome, conversations in kept:
            outcome.lines = line_keys(
                turn["value"] for turn in conversations if turn["from"] == "gpt"
            ).tobytes()


def _written(turn: tuple[str, str]) -> dict[str, Any]:
    """A turn as it stands in clean.jsonl; `loss` only where a counsellor's turn is not learned."""
    role, text = turn
    plain = {"from": str(role), "value": text}
    return plain | ({"loss": False} if role == "gpt" and not is_learned(turn) else {})


def _cut_tags(tags: Sequence[str], system: bool, spoken: Sequence[int]) -> list[list[str]]:
    """The tags of each part of a dialogue, which begins with the system prompt where there is one;
    `spoken` is the number of its other turns.
    """
    cut, start = [], int(system)
    for turns in spoken:
        cut.append([""] * system + list(tags[start : start + turns]))
        start += turns
    return cut


def unknown_form(raw: Path, file: str, fields: Mapping[str, str]) -> UserError:
    """The refusal of a file in which no row has a known form."""
    row = next(readers.raw_rows(raw, file, fields))
    try:
        found = f"row 1 has {nearest_form(readers.parse(row, file))}"
    except Unreadable as error:
        found = str(error)
    return UserError(
        f"{raw / file}: found no row in a known form; {found}; convert the file, say where its "
        f"parts stand (datasets.NAME.fields in the config), or leave it out of the dataset"
    )


def chunks(raw: Path, files: Sequence[str], fields: Mapping[str, str]) -> Iterator[Chunk]:
    """The rows of all files, cut into pieces of work."""
    for file in files:
        rows, size = [], 0
        for row in readers.raw_rows(raw, file, fields):
            rows.append(row)
            size += len(row.data)
            if len(rows) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                yield Chunk(file, rows)
                rows, size = [], 0
        if rows:
            yield Chunk(file, rows)
