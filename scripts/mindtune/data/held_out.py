"""Where held-out texts come from, and the search for them in the training side of a split."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mindtune.cli import UserError
from mindtune.data import forms, readers
from mindtune.data.contamination import SIDES, HeldOut, HeldOutTexts, Search
from mindtune.data.lines import PIECE_ROWS, Lines
from mindtune.processes import in_order

TEXT_KEYS = ("question", "prompt", "text", "reference")
QUESTIONS = ("question_answer", "preference")  # forms of which the question alone is held out
SideOf = Sequence[str | None]


def read_held_out(path: Path) -> Iterator[HeldOut]:
    """The questions, prompts and turns of a file of evaluation data, in any form that the readers
    know.
    """
    for row in readers.raw_rows(path.parent, path.name):
        content = readers.parse(row, path.name)
        fields = content if isinstance(content, dict) else {}
        texts = [fields[key] for key in TEXT_KEYS if isinstance(fields.get(key), str)]
        form = forms.detect_form(content)
        dialogue = form if not (texts and form in QUESTIONS) else None
        if dialogue:
            turns = forms.read_turns(content, form) or ()
            texts = [text for role, text in turns if role != "system"]
        if not texts:
            raise UserError(
                f"{readers.where(str(path), row.number, row.byte)}: found no held-out text, "
                f"expected one of the keys "
                f"{', '.join(TEXT_KEYS)} or a dialogue; correct data.contamination.files"
            )
        identity = fields.get("id", row.number)
        for number, text in enumerate(texts):
            yield HeldOut(
                f"{path.name}:{identity}" + (f"#{number}" if dialogue else ""), path.name, text
            )


def references(lines: Lines, side_of: SideOf) -> Iterator[HeldOut]:
    """The counsellor's replies of the test side, which is evaluated, and of the dev side, by which
    a checkpoint is chosen.
    """
    for number, side in enumerate(side_of):
        if side in SIDES:
            row = lines.row(number)
            for turn, said in enumerate(row["conversations"]):
                if said["from"] == "gpt":
                    yield HeldOut(f"{row['id']}#{turn}", side, said["value"])


def _spoken(row: dict[str, Any]) -> list[tuple[int, str]]:
    """(place, text) of the turns of client and counsellor."""
    turns = enumerate(row["conversations"])
    return [(place, turn["value"]) for place, turn in turns if turn["from"] != "system"]


def _count(
    lines: Lines, side_of: SideOf, texts: HeldOutTexts, piece: range
) -> tuple[np.ndarray, ...]:
    """What the first pass finds in a piece: n-grams, in how many training dialogues, which rows."""
    rows = [number for number in piece if side_of[number] == "train"]
    spoken = [[text for _, text in _spoken(lines.row(number))] for number in rows]
    places, times, touched = texts.times_in(spoken)
    return places, times, np.array(rows, dtype=np.int64)[touched]


def _hits(lines: Lines, search: Search, rows: Sequence[int]) -> list[dict[str, Any]]:
    """One entry for each turn of some dialogues that holds a held-out text."""
    turns = [
        (number, row["id"], place, text)
        for number in rows
        for row in [lines.row(number)]
        for place, text in _spoken(row)
    ]
    entries = []
    for hit in search.hits([text for *_, text in turns]):
        number, identity, place, _ = turns[hit.turn]
        entries.append({
            "row": number, "id": identity, "turn": place, "held_out": hit.text.name,
            "source": hit.text.source, "rule": hit.rule, "overlap": hit.overlap,
            "similarity": hit.similarity, "rare": hit.rare, "seen": hit.seen,
            "passage": hit.passage,
        })  # fmt: skip
    return entries


def find_hits(
    lines: Lines, side_of: SideOf, texts: HeldOutTexts, settings: dict[str, Any], threads: int
) -> list[dict[str, Any]]:
    """Every turn of the training side that holds a held-out text, in the order of the file."""
    seen, touched = np.zeros(len(texts.index.table.hashes), dtype=np.int64), []
    counting = in_order(lambda: partial(_count, lines, side_of, texts), lines.pieces(), threads)
    for _, (places, times, rows) in counting:
        seen[places] += times
        touched += rows.tolist()
    search = Search(texts, seen, settings["overlap"], settings["similarity"])
    pieces = (touched[at : at + PIECE_ROWS] for at in range(0, len(touched), PIECE_ROWS))
    found = in_order(lambda: partial(_hits, lines, search), pieces, threads)
    return [hit for _, hits in found for hit in hits]


def contamination_facts(
    texts: HeldOutTexts, given: Sequence[HeldOut], hits: list[dict[str, Any]], remove: bool
) -> dict[str, Any]:
    """Counts of what was looked for and found."""
    dialogues = {hit["id"] for hit in hits}
    return {
        "held_out_texts": dict(Counter(text.source for text in given)),
        "looked_for": len(texts.texts),
        "too_short": texts.too_short,
        "hits_by_source": dict(Counter(hit["source"] for hit in hits)),
        "hits_by_rule": dict(Counter(hit["rule"] for hit in hits)),
        "dialogues_hit": len(dialogues),
        "removed": len(dialogues) if remove else 0,
    }
