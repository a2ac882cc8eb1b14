"""Clean raw dialogues: repair what can be repaired, reject the rest with its reasons, lose no row.

Reads every data file below --raw, the model's tokenizer folder and the list of official hotlines. Writes the kept
dialogues (ShareGPT, one a line, with the names of the repairs), the rejected rows as they were, and the record.
kept + rejected = read. The result does not depend on --threads.
"""

import argparse
import hashlib
import json
import os
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np
import orjson
from mindtune import cleaning, readers
from mindtune.chat import ChatTokenizer, load_chat, special_pattern, to_messages
from mindtune.cleaning import REJECTIONS, REPAIRS, REQUIRED, Cleaned, Cleaner
from mindtune.cli import UserError, run
from mindtune.duplicates import band_keys, band_shape, check_near_duplicates, copies_to_drop, similar_pairs, spoken_text
from mindtune.personal_data import load_hotlines
from mindtune.readers import RawRow
from mindtune.records import partial, write_record

# A piece of work for one process: large enough to hide its hand-over, small enough to bound memory.
CHUNK_ROWS, CHUNK_BYTES = 400, 4 << 20
SETTINGS = ("max_tokens", "min_turns", "role_map", "steps", "near_duplicates")


@dataclass(frozen=True)
class Chunk:
    """Rows of one file, in order."""

    file: str
    rows: list[RawRow]


@dataclass(slots=True)
class Outcome:
    """What a worker found out about one row; `turns` and `tokens` are those of the cleaned dialogue."""

    own_id: str | None
    form: str | None
    conversations: bytes = b""
    fixes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    masked: Counter[str] = field(default_factory=Counter)
    key: bytes = b""
    turns: int = 0
    tokens: int = 0
    bands: bytes = b""


# ------------------------------------------------------------------------------------------------------------ workers


class Worker:
    """Everything that a process loads once."""

    def __init__(self, settings: dict[str, Any], tokenizer: str, hotlines: str) -> None:
        self.settings = settings
        self.chat: ChatTokenizer = load_chat(tokenizer)
        self.cleaner = Cleaner(
            settings["steps"],
            settings["role_map"],
            settings["min_turns"],
            load_hotlines(hotlines),
            special_pattern(self.chat),
        )

    def work(self, chunk: Chunk) -> list[Outcome]:
        """Parse, clean and measure the rows of a chunk."""
        outcomes, kept = [], []
        for row in chunk.rows:
            outcome, cleaned = self._clean_row(row, chunk.file)
            outcomes.append(outcome)
            if not outcome.reasons:
                conversations = [{"from": role, "value": text} for role, text in cleaned.turns]
                try:
                    outcome.conversations = orjson.dumps(conversations)
                except orjson.JSONEncodeError:  # lone surrogates that no step was allowed to drop
                    outcome.reasons.append("malformed")
                else:
                    outcome.key = hashlib.blake2b(outcome.conversations, digest_size=16).digest()
                    kept.append((outcome, conversations))
        self._sign(self._measure(kept))
        return outcomes

    def _clean_row(self, row: RawRow, file: str) -> tuple[Outcome, Cleaned]:
        content = readers.parse(row, file)
        form = readers.detect_form(content)
        own_id = content.get("id") if isinstance(content, dict) else None
        outcome = Outcome(str(own_id) if isinstance(own_id, str | int) and str(own_id).isprintable() else None, form)
        turns = readers.read_turns(content, form) if form else ([] if form == "" else None)
        if turns is None:
            outcome.reasons.append("malformed")
            return outcome, Cleaned([])
        cleaned = self.cleaner.clean(turns)
        outcome.fixes, outcome.reasons, outcome.masked = cleaned.fixes, cleaned.reasons, cleaned.masked
        outcome.turns = sum(role != "system" for role, _ in cleaned.turns)
        return outcome, cleaned

    def _measure(self, kept: list[tuple[Outcome, list[dict[str, str]]]]) -> list[tuple[Outcome, list[dict[str, str]]]]:
        """Count exact tokens, and reject what is over long."""
        limit = self.settings["max_tokens"]
        texts = [self.chat.render(to_messages(conversations)) for _, conversations in kept]
        if self.settings["steps"]["over_long"]:
            # No token is longer than longest_token bytes, and NFC shortens a text at most threefold: what is longer than
            # this is over long, and need not be counted to its end.
            hopeless = (limit + 1) * self.chat.longest_token * 3
            texts = [text[:hopeless] for text in texts]
        for (outcome, _), tokens in zip(kept, self.chat.count(texts), strict=True):
            outcome.tokens = tokens
            if tokens > limit and self.settings["steps"]["over_long"]:
                outcome.reasons.append("over_long")
        return [pair for pair in kept if not pair[0].reasons]

    def _sign(self, kept: list[tuple[Outcome, list[dict[str, str]]]]) -> None:
        if kept and self.settings["steps"]["near_duplicate"]:
            near = self.settings["near_duplicates"]
            texts = [spoken_text(conversations) for _, conversations in kept]
            for (outcome, _), bands in zip(kept, band_keys(texts, near["ngram_chars"], near["threshold"]), strict=True):
                outcome.bands = bands.tobytes()


_worker: Worker


def _start(settings: dict[str, Any], tokenizer: str, hotlines: str) -> None:
    global _worker
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}  # the processes share the cores already
    _worker = Worker(settings, tokenizer, hotlines)


def _work(chunk: Chunk) -> list[Outcome]:
    return _worker.work(chunk)


def chunks(raw: Path, files: Sequence[str]) -> Iterator[Chunk]:
    """The rows of all files, cut into pieces of work."""
    for file in files:
        rows, size = [], 0
        for row in readers.raw_rows(raw, file):
            rows.append(row)
            size += len(row.data)
            if len(rows) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                yield Chunk(file, rows)
                rows, size = [], 0
        if rows:
            yield Chunk(file, rows)


def in_order(pieces: Iterable[Chunk], threads: int, start: tuple[Any, ...]) -> Iterator[tuple[Chunk, list[Outcome]]]:
    """Pieces with their outcomes in the order given, at most a few in flight; one thread means this process."""
    if threads == 1:
        _start(*start)
        for piece in pieces:
            yield piece, _work(piece)
        return
    try:
        with ProcessPoolExecutor(threads, get_context("fork"), _start, start) as pool:
            flying: deque[tuple[Chunk, Any]] = deque()
            for piece in pieces:
                flying.append((piece, pool.submit(_work, piece)))
                if len(flying) > 2 * threads:
                    piece, result = flying.popleft()
                    yield piece, result.result()
            while flying:
                piece, result = flying.popleft()
                yield piece, result.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a cleaning process was killed, most likely for want of memory; give fewer --threads"
        ) from error


# ---------------------------------------------------------------------------------------------------------- decisions


class Ids:
    """Unique ids: a row's own if nobody had it before, else file stem and row number."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def take(self, own: str | None, file: str, number: int) -> str:
        """An id that no earlier row has."""
        bare = file.split(".")[0]
        for candidate in (own, f"{Path(bare).name}-{number}", f"{bare}-{number}", f"{file}#{number}"):
            if candidate and candidate not in self.taken:
                break
        self.taken.add(candidate)
        return candidate


@dataclass
class FileFacts:
    """What the record says about one source file; `fixes` and `masked` are of kept dialogues."""

    read: int = 0
    kept: int = 0
    form: str | None = None
    rejected: Counter[str] = field(default_factory=Counter)
    fixes: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Writes every row to one of the two files and counts it.

    `spare` holds the originals until near-duplicates are known.
    """

    def __init__(
        self, clean: BinaryIO, rejected: BinaryIO, spare: BinaryIO, source_name: str, settings: dict[str, Any]
    ) -> None:
        self.clean, self.rejected, self.spare = clean, rejected, spare
        self.source_name, self.settings = source_name, settings
        self.ids = Ids()
        self.seen: dict[bytes, str] = {}
        self.files: dict[str, FileFacts] = {}
        self.tokens, self.turns = array("Q"), array("Q")
        self.ends, self.spare_ends = array("Q", [0]), array("Q", [0])
        self.bands = bytearray()
        self.masked: dict[int, Counter[str]] = {}

    def add(self, file: str, row: RawRow, outcome: Outcome) -> None:
        """Decide about one row and write it down."""
        facts = self.files.setdefault(file, FileFacts())
        if outcome.form and facts.form not in (None, outcome.form):
            raise UserError(
                f"{readers.where(file, row.number, row.byte)}: found the form {outcome.form}, expected {facts.form} as in the "
                "rows before; give each form a file of its own"
            )
        facts.form = outcome.form or facts.form
        facts.read += 1
        head = {
            "id": self.ids.take(outcome.own_id, file, row.number),
            "source": f"{self.source_name}:{file}#{row.number}",
        }
        reasons, original = outcome.reasons, readers.compact(row.data)
        if not reasons and self.settings["steps"]["exact_duplicate"]:
            first = self.seen.setdefault(outcome.key, head["id"])
            if first != head["id"]:
                reasons, head = ["exact_duplicate"], head | {"copy_of": first}
        if reasons:
            facts.rejected[reasons[0]] += 1
            self.rejected.write(rejected_line(head, reasons, original))
        else:
            self._keep(facts, head, outcome, original)

    def _keep(self, facts: FileFacts, head: dict[str, str], outcome: Outcome, original: bytes) -> None:
        facts.kept += 1
        facts.fixes.update(outcome.fixes)
        facts.masked.update(outcome.masked)
        if outcome.masked:
            self.masked[len(self.tokens)] = outcome.masked
        self.tokens.append(outcome.tokens)
        self.turns.append(outcome.turns)
        self.bands += outcome.bands
        identity, source, fixes = map(orjson.dumps, (head["id"], head["source"], outcome.fixes))
        line = b'{"id":%s,"conversations":%s,"source":%s,"fixes":%s}\n' % (
            identity,
            outcome.conversations,
            source,
            fixes,
        )
        self.ends.append(self.ends[-1] + self.clean.write(line))
        if outcome.bands:
            self.spare_ends.append(self.spare_ends[-1] + self.spare.write(original))

    def row(self, index: int) -> dict[str, Any]:
        """A kept dialogue, read back from the file."""
        return orjson.loads(_slice(self.clean, self.ends, index))

    def drop_near_duplicates(self, unique: BinaryIO) -> None:
        """Write to `unique` what is kept when of near-duplicates the first copy stays."""
        near = self.settings["near_duplicates"]
        keys = np.frombuffer(self.bands, dtype=np.uint64).reshape(len(self.tokens), band_shape(near["threshold"])[0])
        self.clean.flush()
        self.spare.flush()
        pairs = similar_pairs(
            keys, lambda index: spoken_text(self.row(index)["conversations"]), near["ngram_chars"], near["threshold"]
        )
        dropped = copies_to_drop(pairs)
        for index in range(len(self.tokens)):
            if index not in dropped:
                unique.write(_slice(self.clean, self.ends, index))
        for index, first in dropped.items():
            self._drop(index, self.row(first)["id"])
        chosen = [index for index in range(len(self.tokens)) if index not in dropped]
        self.tokens = array("Q", (self.tokens[index] for index in chosen))
        self.turns = array("Q", (self.turns[index] for index in chosen))

    def _drop(self, index: int, first: str) -> None:
        row = self.row(index)
        facts = self.files[row["source"].split(":", 1)[1].rpartition("#")[0]]
        facts.kept -= 1
        facts.rejected["near_duplicate"] += 1
        facts.fixes.subtract(row["fixes"])
        facts.masked.subtract(self.masked.get(index, {}))
        head = {"id": row["id"], "source": row["source"], "copy_of": first}
        self.rejected.write(rejected_line(head, ["near_duplicate"], _slice(self.spare, self.spare_ends, index)))


def _slice(stream: BinaryIO, ends: array, index: int) -> bytes:
    return os.pread(stream.fileno(), ends[index + 1] - ends[index], ends[index])


def rejected_line(head: dict[str, str], reasons: list[str], original: bytes) -> bytes:
    """One line of rejected.jsonl; the original stands in it byte for byte."""
    start = orjson.dumps({"id": head["id"], "reasons": reasons} | head)
    return start[:-1] + b',"original":' + original + b"}\n"


# -------------------------------------------------------------------------------------------------------------- facts


def quantiles(values: Sequence[int]) -> dict[str, float | int]:
    """Size, sum and percentiles of a list of counts."""
    if not len(values):
        return {"n": 0, "sum": 0}
    points = np.percentile(np.asarray(values), (0, 5, 25, 50, 75, 95, 99, 100), method="lower")
    names = ("min", "p5", "p25", "p50", "p75", "p95", "p99", "max")
    return {"n": len(values), "sum": int(sum(values))} | {
        name: int(point) for name, point in zip(names, points, strict=True)
    }


def total(counters: Iterable[Counter[str]], names: Iterable[str]) -> dict[str, int]:
    """Sums of several counters, every name listed."""
    added = sum(counters, Counter())
    return {name: added[name] for name in names}


def make_facts(ledger: Ledger, skipped: list[str]) -> dict[str, Any]:
    """The record's facts; every row is in them once."""
    files = ledger.files
    facts = {
        "read": sum(file.read for file in files.values()),
        "kept": sum(file.kept for file in files.values()),
        "rejected": sum(sum(file.rejected.values()) for file in files.values()),
        "rejected_by_reason": total((file.rejected for file in files.values()), REQUIRED + REJECTIONS),
        "fixes_by_step": total((file.fixes for file in files.values()), (*REPAIRS, "role_name")),
        "masked_by_step": total((file.masked for file in files.values()), cleaning.MASKS),
        "tokens": quantiles(ledger.tokens),
        "turns": quantiles(ledger.turns),
        "files": {
            name: {
                "form": file.form,
                "read": file.read,
                "kept": file.kept,
                "rejected_by_reason": dict(+file.rejected),
                "fixes_by_step": dict(+file.fixes),
            }
            for name, file in files.items()
        },
        "files_skipped": skipped,
    }
    assert facts["kept"] + facts["rejected"] == facts["read"], "a row was lost"
    assert facts["kept"] == len(ledger.tokens), "a row was kept twice"
    return facts


# --------------------------------------------------------------------------------------------------------------- main


def clean(raw: Path, files: Sequence[str], arguments: argparse.Namespace, stack: ExitStack) -> Ledger:
    """Clean all files into the two outputs, which take their names when the stack closes without an error."""
    settings = arguments.settings
    near = settings["steps"]["near_duplicate"]

    def create(path: Path) -> BinaryIO:
        return stack.enter_context(stack.enter_context(partial(path)).open("w+b"))

    final, rejected = create(arguments.clean), create(arguments.rejected)
    with TemporaryFile(dir=arguments.clean.parent) as spare, TemporaryFile(dir=arguments.clean.parent) as first:
        ledger = Ledger(first if near else final, rejected, spare, arguments.source_name, settings)
        fill(ledger, raw, files, arguments)
        if near:
            ledger.drop_near_duplicates(final)
    return ledger


def fill(ledger: Ledger, raw: Path, files: Sequence[str], arguments: argparse.Namespace) -> None:
    """Give every row of every file to the ledger, in order."""
    settings = arguments.settings
    start = (settings, str(arguments.tokenizer), str(arguments.hotlines))
    for chunk, outcomes in in_order(chunks(raw, files), arguments.threads, start):
        for row, outcome in zip(chunk.rows, outcomes, strict=True):
            ledger.add(chunk.file, row, outcome)
    for file in files:
        if not (facts := ledger.files.setdefault(file, FileFacts())).form and facts.read:
            raise UserError(
                f"{raw / file}: found no row in a known form, expected one of {', '.join(readers.FORMS)}; "
                "convert it, or leave the file out of the dataset"
            )


def check_settings(settings: dict[str, Any]) -> None:
    """The settings are complete and of the right kinds."""
    if set(settings) != set(SETTINGS):
        raise UserError(
            f"--settings: found the keys {', '.join(sorted(settings))}; expected {', '.join(sorted(SETTINGS))}"
        )
    cleaning.check_steps(settings["steps"])
    for key, least in (("max_tokens", 1), ("min_turns", 2)):
        if not isinstance(settings[key], int) or settings[key] < least:
            raise UserError(f"--settings: {key} is {settings[key]!r}; expected a whole number of {least} or more")
    check_near_duplicates(settings["near_duplicates"])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="folder of data files")
    parser.add_argument(
        "--tokenizer", type=Path, required=True, help="tokenizer folder of the model that will be trained"
    )
    parser.add_argument(
        "--hotlines", type=Path, required=True, help="YAML list of official hotlines, which are never masked"
    )
    parser.add_argument("--settings", required=True, type=json.loads, help=f"JSON: {', '.join(SETTINGS)}")
    parser.add_argument("--source-name", required=True, help="the dataset's name in the config")
    parser.add_argument(
        "--threads", type=int, default=1, help="processes to clean with; the result is the same for any number"
    )
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--rejected", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    check_settings(arguments.settings)
    load_hotlines(arguments.hotlines)
    load_chat(arguments.tokenizer)
    files, skipped = readers.data_files(arguments.raw)
    arguments.clean.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        facts = make_facts(clean(arguments.raw, files, arguments, stack), skipped)
    write_record(
        arguments.record,
        "clean_dialogues",
        inputs=[arguments.raw, arguments.tokenizer, arguments.hotlines],
        outputs=[arguments.clean, arguments.rejected],
        params=arguments.settings,
        facts=facts,
        packages=["ftfy", "jinja2", "numpy", "orjson", "pyarrow", "rensa", "tokenizers"],
    )
    reasons = ", ".join(f"{name} {count}" for name, count in facts["rejected_by_reason"].items() if count)
    print(f"kept {facts['kept']} of {facts['read']} dialogues ({reasons or 'none rejected'})")


if __name__ == "__main__":
    raise SystemExit(run(main))
