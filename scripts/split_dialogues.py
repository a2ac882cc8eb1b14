"""Split cleaned dialogues into train, dev and test so that nothing in dev, test or the evaluation
was seen in training.

Reads clean.jsonl and held-out evaluation files. Dialogues that share their first client turn, or
are near-duplicates, or were one dialogue, stay on one side. Training dialogues that hold an
evaluation question or a reference reply of the test side are listed, and left out unless the
settings keep them. Writes the three files, rows unchanged and in their order, the list, and a
record in which leaks are counted from the files written. The result does not depend on
--threads.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np
from mindtune.cli import UserError, run
from mindtune.data.contamination import HeldOut, Index, check_contamination, read_held_out
from mindtune.data.duplicates import (
    band_keys,
    band_shape,
    check_near_duplicates,
    first_turn_key,
    similar_pairs,
    spoken_text,
)
from mindtune.data.lines import Lines
from mindtune.data.splitting import SIDES, Group, assign, group_dialogues, shared
from mindtune.processes import in_order
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import partial as partial_file
from mindtune.records import write_jsonl, write_record

SETTINGS = ("seed", "dev_share", "test_share", "near_duplicates", "contamination")
NEAR_CHARS = 5


@dataclass(frozen=True)
class Signs:
    """What tells some rows apart, one entry a row: `bands` has shape (rows, bands). `parts` follow
    a part of their dialogue.
    """

    ids: list[str]
    sources: list[str]
    first_turns: list[str]
    parts: list[int]
    bands: np.ndarray


def source_file(row: dict[str, Any]) -> str:
    """The source without its row number: `demo:zh.jsonl` of `demo:zh.jsonl#12`. A name that comes
    again is one object.
    """
    return intern(row["source"].rpartition("#")[0])


def sign(lines: Lines, near: dict[str, float], piece: range) -> Signs:
    """The signs of a piece of the file."""
    rows = [lines.row(number) for number in piece]
    before = [lines.row(piece.start - 1) if piece.start else {"source": None}, *rows]
    return Signs(
        ids=[row["id"] for row in rows],
        sources=list(map(source_file, rows)),
        first_turns=[first_turn_key(row["conversations"]) for row in rows],
        parts=[
            n
            for n, last, row in zip(piece, before, rows, strict=False)
            if row["source"] == last["source"]
        ],
        bands=band_keys(
            [spoken_text(row["conversations"]) for row in rows],
            near["ngram_chars"],
            near["threshold"],
        ),
    )


def find_groups(
    lines: Lines, near: dict[str, float], threads: int
) -> tuple[list[str], list[Group]]:
    """(the ids of all rows, groups over them)."""
    ids, keys, sources, parts = [], [], [], []
    bands = np.zeros((len(lines), band_shape(near["threshold"])[0]), dtype=np.uint64)
    for piece, signs in in_order(lambda: partial(sign, lines, near), lines.pieces(), threads):
        ids += signs.ids
        keys += signs.first_turns
        sources += signs.sources
        parts += [(row - 1, row) for row in signs.parts]
        bands[piece.start : piece.stop] = signs.bands
    if not keys:
        raise UserError(
            f"{lines.path} is empty; nothing was kept: look at the reasons in rejected.jsonl "
            f"beside it"
        )

    def text_of(number: int) -> str:
        return spoken_text(lines.row(number)["conversations"])

    pairs = similar_pairs(bands, text_of, near["ngram_chars"], near["threshold"])
    return ids, group_dialogues(keys, sources, pairs + parts)


def sides_of_rows(
    groups: list[Group], side_of_group: dict[str, str], count: int
) -> list[str | None]:
    """The side of each row."""
    side_of: list[str | None] = [None] * count
    for group in groups:
        for row in group.rows:
            side_of[row] = side_of_group[group.key]
    return side_of


def write_sides(lines: Lines, side_of: list[str | None], paths: dict[str, Path]) -> None:
    """Copy every line to its side; a row without a side is left out."""
    with ExitStack() as stack:
        temporary = {side: stack.enter_context(partial_file(path)) for side, path in paths.items()}
        outputs = {side: stack.enter_context(path.open("wb")) for side, path in temporary.items()}
        for number, side in enumerate(side_of):
            if side is not None:
                outputs[side].write(lines.raw(number))


def references(lines: Lines, side_of: list[str | None]) -> Iterator[HeldOut]:
    """The counsellor's replies of the test side."""
    for number, side in enumerate(side_of):
        if side == "test":
            row = lines.row(number)
            for turn, said in enumerate(row["conversations"]):
                if said["from"] == "gpt":
                    yield HeldOut(f"{row['id']}#{turn}", "test", said["value"])


def hits_in(
    lines: Lines, side_of: list[str | None], index: Index, piece: range
) -> list[dict[str, Any]]:
    """One entry for each turn of a piece's training dialogues that holds a held-out text."""
    turns = [
        (number, row["id"], turn, said["value"])
        for number in piece
        if side_of[number] == "train"
        for row in [lines.row(number)]
        for turn, said in enumerate(row["conversations"])
        if said["from"] != "system"
    ]
    hits = []
    for hit in index.hits([text for *_, text in turns]):
        number, identity, turn, _ = turns[hit.turn]
        hits.append({
            "row": number, "id": identity, "turn": turn, "held_out": hit.text.name, "source": hit.text.source,
            "overlap": hit.overlap, "similarity": hit.similarity,
        })  # fmt: skip
    return hits


def find_hits(
    lines: Lines, side_of: list[str | None], index: Index, threads: int
) -> list[dict[str, Any]]:
    """The entries of all pieces."""
    found = in_order(lambda: partial(hits_in, lines, side_of, index), lines.pieces(), threads)
    return [hit for _, hits in found for hit in hits]


def contamination_facts(
    index: Index, held_out: list[HeldOut], hits: list[dict[str, Any]], remove: bool
) -> dict[str, Any]:
    """Counts of what was looked for and found."""
    dialogues = {hit["id"] for hit in hits}
    return {
        "held_out_texts": dict(Counter(text.source for text in held_out)),
        "looked_for": len(index.texts),
        "too_short": index.too_short,
        "hits_by_source": dict(Counter(hit["source"] for hit in hits)),
        "dialogues_hit": len(dialogues),
        "removed": len(dialogues) if remove else 0,
    }


def marks_of(files: dict[str, Lines], piece: tuple[str, range]) -> list[tuple[str, str, str]]:
    """(id, source file, first turn) of the rows of a piece of a side."""
    rows = (files[piece[0]].row(number) for number in piece[1])
    return [(row["id"], source_file(row), first_turn_key(row["conversations"])) for row in rows]


def make_facts(
    groups: list[Group],
    ids: list[str],
    paths: dict[str, Path],
    hits: list[dict[str, Any]],
    threads: int,
) -> dict[str, Any]:
    """Counts from the files as they were written: the shared groups and first turns, and hits that
    are left in train.
    """
    group_of = {ids[row]: number for number, group in enumerate(groups) for row in group.rows}
    hit_ids = {hit["id"] for hit in hits}
    sources, names, first_turns = ({side: kind() for side in paths} for kind in (Counter, set, set))
    left, files = 0, {side: Lines(path) for side, path in paths.items()}
    pieces = ((side, piece) for side, lines in files.items() for piece in lines.pieces())
    for (side, _), marks in in_order(lambda: partial(marks_of, files), pieces, threads):
        for identity, source, first_turn in marks:
            sources[side][source] += 1
            names[side].add(group_of[identity])
            first_turns[side].add(first_turn)
            left += side == "train" and identity in hit_ids
    return {
        "dialogues": {side: found.total() for side, found in sources.items()},
        "dialogues_by_source": {side: dict(found) for side, found in sources.items()},
        "groups": {side: len(found) for side, found in names.items()},
        "groups_of_many": sum(len(group.rows) > 1 for group in groups),
        "largest_group": max(len(group.rows) for group in groups),
        "shared_groups": shared(names),
        "shared_first_turns": shared(first_turns),
        "contaminated_in_train": left,
        "read": len(ids),
    }


def prove(facts: dict[str, Any]) -> None:
    """No leak, and no dialogue lost."""
    contamination = facts["contamination"]
    if (
        facts["shared_groups"]
        or facts["shared_first_turns"]
        or sum(facts["dialogues"].values()) + contamination["removed"] != facts["read"]
        or facts["contaminated_in_train"]
        != contamination["dialogues_hit"] - contamination["removed"]
    ):
        raise AssertionError(f"the split leaks or loses dialogues: {facts}")


def check_settings(settings: dict[str, Any]) -> None:
    """The settings are complete, and something is left to train on."""
    if set(settings) != set(SETTINGS):
        raise UserError(
            f"--settings: found the keys {', '.join(sorted(settings))}; expected "
            f"{', '.join(sorted(SETTINGS))}"
        )
    dev, test = settings["dev_share"], settings["test_share"]
    if not (0 < dev < 1 and 0 < test < 1 and dev + test < 1):
        raise UserError(
            f"--settings: dev_share {dev} and test_share {test}; expected both above 0 and their "
            f"sum below 1"
        )
    check_near_duplicates(settings["near_duplicates"])
    check_contamination(settings["contamination"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument(
        "--held-out",
        type=Path,
        nargs="*",
        required=True,
        help="files of evaluation questions and replies",
    )
    add_made_by(parser)
    parser.add_argument(
        "--settings", type=json.loads, required=True, help=f"JSON: {', '.join(SETTINGS)}"
    )
    for side in SIDES:
        parser.add_argument(f"--{side}", type=Path, required=True)
    parser.add_argument(
        "--contamination", type=Path, required=True, help="list of hits, contamination.jsonl"
    )
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="processes to read and compare with; the result is the same for any number",
    )
    arguments = parser.parse_args()
    settings = arguments.settings
    check_settings(settings)
    paths = {side: getattr(arguments, side) for side in SIDES}
    inputs = hash_inputs([arguments.clean, *arguments.held_out], arguments.made_by)
    threads, lines = arguments.threads, Lines(arguments.clean)
    ids, groups = find_groups(lines, settings["near_duplicates"], threads)
    sides = assign(groups, settings["seed"], settings["dev_share"], settings["test_share"])
    side_of = sides_of_rows(groups, sides, len(lines))
    held_out = [text for path in arguments.held_out for text in read_held_out(path)]
    held_out += references(lines, side_of)
    check = settings["contamination"]
    index = Index(held_out, check["ngram_chars"], check["overlap"], check["similarity"], NEAR_CHARS)
    hits = find_hits(lines, side_of, index, threads)
    if check["remove"]:
        for hit in hits:
            side_of[hit["row"]] = None
    if "train" not in side_of:
        raise UserError(
            f"every training dialogue of {arguments.clean} holds a held-out text; look for one "
            f"that is in the training data by "
            "intent and take it out of data.contamination.files"
        )
    write_sides(lines, side_of, paths)
    write_jsonl(
        arguments.contamination, ({key: hit[key] for key in hit if key != "row"} for hit in hits)
    )
    facts = make_facts(groups, ids, paths, hits, threads)
    facts["contamination"] = contamination_facts(index, held_out, hits, check["remove"])
    prove(facts)
    write_record(
        arguments.record,
        "split_dialogues",
        inputs=inputs,
        outputs=[*paths.values(), arguments.contamination],
        params=settings,
        facts=facts,
        packages=["numpy", "orjson", "rensa"],
    )
    print(
        ", ".join(f"{side} {count}" for side, count in facts["dialogues"].items())
        + (
            f" dialogues in {len(groups)} groups; {facts['contamination']['removed']} left out for "
            f"held-out texts in them"
        )
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
