"""Split cleaned dialogues into train, dev and test so that nothing in dev or test was seen in training.

Reads clean.jsonl. Dialogues that share their first client turn, or are near-duplicates, stay on one side. Writes
the three files, rows unchanged and in their order, and a record in which the shared groups are counted from the
files written.
"""

import argparse
import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from mindtune.cli import UserError, run
from mindtune.duplicates import band_keys, check_near_duplicates, first_turn_key, similar_pairs, spoken_text
from mindtune.records import partial, read_jsonl, write_record
from mindtune.splitting import SIDES, Group, assign, group_dialogues, shared

SETTINGS = ("seed", "dev_share", "test_share", "near_duplicates")
BATCH = 400


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
        return spoken_text(json.loads(self.raw(index))["conversations"])


def source_file(row: dict[str, Any]) -> str:
    """The source without its row number: `demo:zh.jsonl` of `demo:zh.jsonl#12`."""
    return row["source"].rpartition("#")[0]


def find_groups(clean: Path, near: dict[str, float]) -> list[Group]:
    """Groups over all dialogues of the file."""
    keys, sources, texts, bands = [], [], [], []

    def sign() -> None:
        if texts:
            bands.append(band_keys(texts, near["ngram_chars"], near["threshold"]))
            texts.clear()

    for row in read_jsonl(clean):
        keys.append(first_turn_key(row["conversations"]))
        sources.append(source_file(row))
        texts.append(spoken_text(row["conversations"]))
        if len(texts) == BATCH:
            sign()
    sign()
    if not keys:
        raise UserError(f"{clean} is empty; nothing was kept: look at the reasons in rejected.jsonl beside it")
    pairs = similar_pairs(np.concatenate(bands), Lines(clean).spoken, near["ngram_chars"], near["threshold"])
    return group_dialogues(keys, sources, pairs)


def write_sides(clean: Path, side_of_row: dict[int, str], paths: dict[str, Path]) -> None:
    """Copy every line to its side."""
    with ExitStack() as stack, clean.open("rb") as stream:
        temporary = {side: stack.enter_context(partial(path)) for side, path in paths.items()}
        outputs = {side: stack.enter_context(path.open("wb")) for side, path in temporary.items()}
        for row, line in enumerate(stream):
            outputs[side_of_row[row]].write(line)


def make_facts(groups: list[Group], clean: Path, paths: dict[str, Path]) -> dict[str, Any]:
    """Counts from the files as they were written, the shared groups and first turns among them."""
    group_of = {}
    for group in groups:
        for row in group.rows:
            group_of[row] = group.key
    group_of_id = {row["id"]: group_of[number] for number, row in enumerate(read_jsonl(clean))}
    dialogues, sources, names, first_turns = {}, {}, {}, {}
    for side, path in paths.items():
        rows = [(row["id"], source_file(row), first_turn_key(row["conversations"])) for row in read_jsonl(path)]
        dialogues[side] = len(rows)
        sources[side] = dict(Counter(source for _, source, _ in rows))
        names[side] = {group_of_id[identity] for identity, _, _ in rows}
        first_turns[side] = {key for _, _, key in rows}
    facts = {
        "dialogues": dialogues,
        "dialogues_by_source": sources,
        "groups": {side: len(found) for side, found in names.items()},
        "groups_of_many": sum(len(group.rows) > 1 for group in groups),
        "largest_group": max(len(group.rows) for group in groups),
        "shared_groups": shared(names),
        "shared_first_turns": shared(first_turns),
    }
    if facts["shared_groups"] or facts["shared_first_turns"] or sum(dialogues.values()) != len(group_of):
        raise AssertionError(f"the split leaks or loses dialogues: {facts}")
    return facts


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True, help=f"JSON: {', '.join(SETTINGS)}")
    for side in SIDES:
        parser.add_argument(f"--{side}", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    settings = arguments.settings
    check_settings(settings)
    paths = {side: getattr(arguments, side) for side in SIDES}
    groups = find_groups(arguments.clean, settings["near_duplicates"])
    sides = assign(groups, settings["seed"], settings["dev_share"], settings["test_share"])
    write_sides(arguments.clean, {row: sides[group.key] for group in groups for row in group.rows}, paths)
    facts = make_facts(groups, arguments.clean, paths)
    write_record(
        arguments.record,
        "split_dialogues",
        inputs=[arguments.clean],
        outputs=list(paths.values()),
        params=settings,
        facts=facts,
        packages=["numpy", "rensa"],
    )
    print(
        ", ".join(f"{side} {count}" for side, count in facts["dialogues"].items())
        + f" dialogues in {len(groups)} groups"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
