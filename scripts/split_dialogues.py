"""Split cleaned dialogues into train, dev and test so that nothing in dev, test or the evaluation
was seen in training.

Reads clean.jsonl and held-out evaluation files. Dialogues that share their first client turn or
nearly share it (or paraphrase it, by a list that an embedding model made, if there is one), or are
near-duplicates, or were one dialogue, stay on one side. Training dialogues
that hold an evaluation question or a reply of the dev or test side are listed, and left out unless
the settings keep them. Writes the three files, rows unchanged and in their order, the list, and a
record in which leaks are counted from the files written. The result does not depend on --threads.
"""

import argparse
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.data.contamination import HeldOutTexts, check_contamination
from mindtune.data.duplicates import check_near_duplicates
from mindtune.data.grouping import find_groups
from mindtune.data.held_out import contamination_facts, find_hits, read_held_out, references
from mindtune.data.lines import Lines
from mindtune.data.sides import make_facts, prove, sides_of_rows, write_sides
from mindtune.data.splitting import SIDES, assign
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import write_jsonl, write_record

SETTINGS = ("seed", "dev_share", "test_share", "near_duplicates", "contamination")


def check_settings(settings: dict[str, Any]) -> None:
    """The settings are of the right kinds, and leave something to train on."""
    dev, test = settings["dev_share"], settings["test_share"]
    if not (0 < dev < 1 and 0 < test < 1 and dev + test < 1):
        raise UserError(
            f"--settings: dev_share {dev} and test_share {test}; expected both above 0 and their "
            f"sum below 1"
        )
    check_near_duplicates(settings["near_duplicates"])
    check_contamination(settings["contamination"])


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument(
        "--held-out",
        type=Path,
        nargs="*",
        required=True,
        help="files of evaluation questions and replies",
    )
    parser.add_argument(
        "--paraphrases",
        type=Path,
        nargs="*",
        default=[],
        help="pairs of dialogues that stay together, paraphrases.jsonl of find_paraphrases.py",
    )
    add_made_by(parser)
    add_json(parser, "--settings", *SETTINGS)
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
    return parser.parse_args()


def split(arguments: argparse.Namespace, paths: dict[str, Path]) -> dict[str, Any]:
    """Write the sides and the list of hits; return the record's facts."""
    settings, threads, lines = arguments.settings, arguments.threads, Lines(arguments.clean)
    grouped = find_groups(lines, settings["near_duplicates"], threads, arguments.paraphrases)
    sides = assign(grouped.groups, settings["seed"], settings["dev_share"], settings["test_share"])
    side_of = sides_of_rows(grouped.groups, sides, len(lines))
    held_out = [text for path in arguments.held_out for text in read_held_out(path)]
    held_out += references(lines, side_of)
    check = settings["contamination"]
    texts = HeldOutTexts(held_out, check["ngram_chars"])
    hits = find_hits(lines, side_of, texts, check, threads)
    if check["remove"]:
        for hit in hits:
            side_of[hit["row"]] = None
    if "train" not in side_of:
        raise UserError(
            f"every training dialogue of {arguments.clean} holds a held-out text; look for one "
            f"that is in the training data by intent and take it out of data.contamination.files"
        )
    write_sides(lines, side_of, paths)
    listed = ({key: hit[key] for key in hit if key != "row"} for hit in hits)
    write_jsonl(arguments.contamination, listed)
    facts = make_facts(grouped, paths, hits, threads)
    facts["contamination"] = contamination_facts(texts, held_out, hits, check["remove"])
    if arguments.paraphrases:
        facts["paraphrase_pairs"] = len(grouped.paraphrases)
    prove(facts)
    return facts


def main() -> None:
    arguments = parse_arguments()
    check_settings(arguments.settings)
    paths = {side: getattr(arguments, side) for side in SIDES}
    read = [arguments.clean, *arguments.paraphrases, *arguments.held_out]
    inputs = hash_inputs(read, arguments.made_by)
    facts = split(arguments, paths)
    write_record(
        arguments.record,
        "split_dialogues",
        inputs=inputs,
        outputs=[*paths.values(), arguments.contamination],
        params=arguments.settings,
        facts=facts,
        packages=["numpy", "orjson", "rensa"],
    )
    print(
        ", ".join(f"{side} {count}" for side, count in facts["dialogues"].items())
        + f" dialogues in {sum(facts['groups'].values())} groups; "
        f"{facts['contamination']['removed']} left out for held-out texts in them"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
