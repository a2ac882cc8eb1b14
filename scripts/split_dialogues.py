"""Split cleaned dialogues into train, dev and test so that nothing in dev, test or the evaluation was seen in training.

Reads clean.jsonl and held-out evaluation files. Dialogues that share their first client turn, or are near-duplicates,
or were one dialogue, stay on one side. Training dialogues that hold an evaluation question or a reference reply of
the test side are listed, and left out unless the settings keep them. Writes the three files, rows unchanged and in
their order, the list, and a record in which leaks are counted from the files written.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from mindtune.cli import UserError, run
from mindtune.contamination import HeldOut, Index, check_contamination, read_held_out
from mindtune.duplicates import band_keys, check_near_duplicates, first_turn_key, similar_pairs, spoken_text
from mindtune.records import partial, write_jsonl, write_record
from mindtune.splitting import SIDES, Group, assign, group_dialogues, shared

SETTINGS = ("seed", "dev_share", "test_share", "near_duplicates", "contamination")
BATCH = 400
NEAR_CHARS = 5


class Lines:
    """The rows of a JSONL file by number, read from the file when asked for."""

    def __init__(self, path: Path) -> None:
        self.stream = path.open("rb")
        self.starts = [0]
        for line in self.stream:
            self.starts.append(self.starts[-1] + len(line))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def raw(self, index: int) -> bytes:
        """The line with its line end."""
        self.stream.seek(self.starts[index])
        return self.stream.read(self.starts[index + 1] - self.starts[index])

    def spoken(self, index: int) -> str:
        """What near-duplicates are compared by."""
        return spoken_text(orjson.loads(self.raw(index))["conversations"])


def source_file(row: dict[str, Any]) -> str:
    """The source without its row number: `demo:zh.jsonl` of `demo:zh.jsonl#12`."""
    return row["source"].rpartition("#")[0]


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that clean_dialogues or this program wrote."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise UserError(f"{path} line {number} is not JSON ({error}); delete the file and run again") from error


def batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists of BATCH rows."""
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def find_groups(clean: Path, near: dict[str, float]) -> list[Group]:
    """Groups over all dialogues of the file."""
    keys, sources, bands, parts, last = [], [], [], [], None
    for batch in batches(rows_of(clean)):
        for row in batch:
            if row["source"] == last:  # the parts of one dialogue follow each other
                parts.append((len(keys) - 1, len(keys)))
            last = row["source"]
            keys.append(first_turn_key(row["conversations"]))
            sources.append(source_file(row))
        texts = [spoken_text(row["conversations"]) for row in batch]
        bands.append(band_keys(texts, near["ngram_chars"], near["threshold"]))
    if not keys:
        raise UserError(f"{clean} is empty; nothing was kept: look at the reasons in rejected.jsonl beside it")
    pairs = similar_pairs(np.concatenate(bands), Lines(clean).spoken, near["ngram_chars"], near["threshold"])
    return group_dialogues(keys, sources, pairs + parts)


def write_sides(clean: Path, side_of_row: dict[int, str], paths: dict[str, Path]) -> None:
    """Copy every line to its side; a row without a side is left out."""
    with ExitStack() as stack, clean.open("rb") as stream:
        temporary = {side: stack.enter_context(partial(path)) for side, path in paths.items()}
        outputs = {side: stack.enter_context(path.open("wb")) for side, path in temporary.items()}
        for row, line in enumerate(stream):
            if row in side_of_row:
                outputs[side_of_row[row]].write(line)


def references(clean: Path, side_of_row: dict[int, str]) -> Iterator[HeldOut]:
    """The counsellor's replies of the test side."""
    for number, row in enumerate(rows_of(clean)):
        if side_of_row[number] == "test":
            for turn, said in enumerate(row["conversations"]):
                if said["from"] == "gpt":
                    yield HeldOut(f"{row['id']}#{turn}", "test", said["value"])


def find_hits(clean: Path, side_of_row: dict[int, str], index: Index) -> Iterator[dict[str, Any]]:
    """One entry for each turn of a training dialogue that holds a held-out text."""
    train = ((number, row) for number, row in enumerate(rows_of(clean)) if side_of_row[number] == "train")
    for batch in batches(train):
        turns = [
            (number, row["id"], turn, said["value"])
            for number, row in batch
            for turn, said in enumerate(row["conversations"])
            if said["from"] != "system"
        ]
        for hit in index.hits([text for *_, text in turns]):
            number, identity, turn, _ = turns[hit.turn]
            yield {
                "row": number, "id": identity, "turn": turn, "held_out": hit.text.name, "source": hit.text.source,
                "overlap": hit.overlap, "similarity": hit.similarity,
            }  # fmt: skip


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


def make_facts(groups: list[Group], clean: Path, paths: dict[str, Path], hits: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts from the files as they were written: the shared groups and first turns, and hits that are left in train."""
    group_of = np.zeros(sum(len(group.rows) for group in groups), dtype=np.int64)
    for number, group in enumerate(groups):
        group_of[list(group.rows)] = number
    group_of_id = {row["id"]: group_of[number] for number, row in enumerate(rows_of(clean))}
    hit_ids = {hit["id"] for hit in hits}
    dialogues, sources, names, first_turns, left = {}, {}, {}, {}, 0
    for side, path in paths.items():
        sources[side], names[side], first_turns[side] = Counter(), set(), set()
        for row in rows_of(path):
            sources[side][source_file(row)] += 1
            names[side].add(group_of_id[row["id"]])
            first_turns[side].add(first_turn_key(row["conversations"]))
            left += side == "train" and row["id"] in hit_ids
        dialogues[side] = sources[side].total()
    return {
        "dialogues": dialogues,
        "dialogues_by_source": {side: dict(found) for side, found in sources.items()},
        "groups": {side: len(found) for side, found in names.items()},
        "groups_of_many": sum(len(group.rows) > 1 for group in groups),
        "largest_group": max(len(group.rows) for group in groups),
        "shared_groups": shared(names),
        "shared_first_turns": shared(first_turns),
        "contaminated_in_train": left,
        "read": len(group_of),
    }


def prove(facts: dict[str, Any]) -> None:
    """No leak, and no dialogue lost."""
    contamination = facts["contamination"]
    if (
        facts["shared_groups"]
        or facts["shared_first_turns"]
        or sum(facts["dialogues"].values()) + contamination["removed"] != facts["read"]
        or facts["contaminated_in_train"] != contamination["dialogues_hit"] - contamination["removed"]
    ):
        raise AssertionError(f"the split leaks or loses dialogues: {facts}")


def check_settings(settings: dict[str, Any]) -> None:
    """The settings are complete, and something is left to train on."""
    if set(settings) != set(SETTINGS):
        raise UserError(
            f"--settings: found the keys {', '.join(sorted(settings))}; expected {', '.join(sorted(SETTINGS))}"
        )
    dev, test = settings["dev_share"], settings["test_share"]
    if not (0 < dev < 1 and 0 < test < 1 and dev + test < 1):
        raise UserError(
            f"--settings: dev_share {dev} and test_share {test}; expected both above 0 and their sum below 1"
        )
    check_near_duplicates(settings["near_duplicates"])
    check_contamination(settings["contamination"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument(
        "--held-out", type=Path, nargs="*", required=True, help="files of evaluation questions and replies"
    )
    parser.add_argument("--settings", type=json.loads, required=True, help=f"JSON: {', '.join(SETTINGS)}")
    for side in SIDES:
        parser.add_argument(f"--{side}", type=Path, required=True)
    parser.add_argument("--contamination", type=Path, required=True, help="list of hits, contamination.jsonl")
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.settings
    check_settings(settings)
    paths = {side: getattr(arguments, side) for side in SIDES}
    groups = find_groups(arguments.clean, settings["near_duplicates"])
    sides = assign(groups, settings["seed"], settings["dev_share"], settings["test_share"])
    side_of_row = {row: sides[group.key] for group in groups for row in group.rows}
    held_out = [text for path in arguments.held_out for text in read_held_out(path)]
    held_out += references(arguments.clean, side_of_row)
    check = settings["contamination"]
    index = Index(held_out, check["ngram_chars"], check["overlap"], check["similarity"], NEAR_CHARS)
    hits = list(find_hits(arguments.clean, side_of_row, index))
    if check["remove"]:
        contaminated = {hit["row"] for hit in hits}
        side_of_row = {row: side for row, side in side_of_row.items() if row not in contaminated}
    if "train" not in side_of_row.values():
        raise UserError(
            f"every training dialogue of {arguments.clean} holds a held-out text; look for one that is in the training data by "
            "intent and take it out of data.contamination.files"
        )
    write_sides(arguments.clean, side_of_row, paths)
    write_jsonl(arguments.contamination, ({key: hit[key] for key in hit if key != "row"} for hit in hits))
    facts = make_facts(groups, arguments.clean, paths, hits)
    facts["contamination"] = contamination_facts(index, held_out, hits, check["remove"])
    prove(facts)
    write_record(
        arguments.record,
        "split_dialogues",
        inputs=[arguments.clean, *arguments.held_out],
        outputs=[*paths.values(), arguments.contamination],
        params=settings,
        facts=facts,
        packages=["numpy", "orjson", "rensa"],
    )
    print(
        ", ".join(f"{side} {count}" for side, count in facts["dialogues"].items())
        + f" dialogues in {len(groups)} groups; {facts['contamination']['removed']} left out for held-out texts in them"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
