"""Lay the sides of several data sets together, without copies across them and without a leak from
one's dev or test side into another's training.

Every dialogue keeps its side; its id begins with its data set's name. Groups that would stand on
two sides (a first client turn that is shared or nearly so, near-duplicates), copies, and training
dialogues that hold a reply of any dev or test side are left out, each listed with its reason.

Reads   train.jsonl, dev.jsonl and test.jsonl of every data set
Writes  the same three of the mixture, contamination.jsonl, left_out.jsonl, and a record in which
        leaks are counted from the files written. The result does not depend on --threads.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.data.contamination import HeldOutTexts
from mindtune.data.grouping import find_groups
from mindtune.data.held_out import contamination_facts, find_hits, references
from mindtune.data.lines import Lines
from mindtune.data.mixing import copies, count_sets, gather, leaks, left_out
from mindtune.data.sides import make_facts, prove, write_sides
from mindtune.data.splitting import SIDES
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import write_jsonl, write_record


def parse_arguments() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--names", nargs="+", required=True, help="the data sets")
    for side in SIDES:
        parser.add_argument(f"--{side}-of", type=Path, nargs="+", required=True, help="one a name")
        parser.add_argument(f"--{side}", type=Path, required=True)
    add_made_by(parser)
    add_json(parser, "--settings", "near_duplicates", "copies", "contamination")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--contamination", type=Path, required=True)
    parser.add_argument("--left-out", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def mix(arguments: argparse.Namespace, parts: dict[str, dict[str, Path]], whole: Path) -> Any:
    """Write the mixture's sides and its two lists; return the record's facts."""
    chosen, paths = arguments.settings, {side: getattr(arguments, side) for side in SIDES}
    set_of, before = gather(parts, whole)
    lines = Lines(whole)
    grouped = find_groups(lines, chosen["near_duplicates"], arguments.threads)
    side_of, gone = list(before), {"leak": leaks(grouped, before)}
    _leave_out(side_of, gone["leak"])
    gone["near_duplicate"] = copies(lines, grouped, side_of, chosen["copies"])
    _leave_out(side_of, gone["near_duplicate"])
    check = chosen["contamination"]
    held_out = list(references(lines, side_of))
    texts = HeldOutTexts(held_out, check["ngram_chars"])
    hits = find_hits(lines, side_of, texts, check, arguments.threads)
    if check["remove"]:
        _leave_out(side_of, {hit["row"]: -1 for hit in hits})
    for side in SIDES:
        if side not in side_of:
            raise UserError(
                f"nothing is left of the {side} side of {', '.join(parts)}: the data sets hold the "
                f"same dialogues; train on one of them"
            )
    write_sides(lines, side_of, paths)
    entries = left_out(lines, gone, hits if check["remove"] else [])
    write_jsonl(arguments.left_out, entries)
    write_jsonl(
        arguments.contamination, ({key: hit[key] for key in hit if key != "row"} for hit in hits)
    )
    facts = make_facts(grouped, paths, hits, arguments.threads)
    facts["contamination"] = contamination_facts(texts, held_out, hits, check["remove"])
    facts["left_out"] = {reason: len(rows) for reason, rows in gone.items()}
    prove(facts, sum(facts["left_out"].values()))
    return facts | {"datasets": count_sets(set_of, before, side_of)}


def _leave_out(side_of: list[str | None], rows: dict[int, int]) -> None:
    for row in rows:
        side_of[row] = None


def main() -> None:
    arguments = parse_arguments()
    files = {side: getattr(arguments, f"{side}_of") for side in SIDES}
    inputs = hash_inputs([path for side in SIDES for path in files[side]], arguments.made_by)
    parts = {
        name: {side: files[side][number] for side in SIDES}
        for number, name in enumerate(arguments.names)
    }
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.record.parent) as folder:
        facts = mix(arguments, parts, Path(folder, "all.jsonl"))
    outputs = [getattr(arguments, side) for side in SIDES]
    write_record(
        arguments.record,
        "mix_datasets",
        inputs=inputs,
        outputs=[*outputs, arguments.contamination, arguments.left_out],
        params={"names": arguments.names, **arguments.settings},
        facts=facts,
        packages=["numpy", "orjson", "rensa"],
    )
    for name, found in facts["datasets"].items():
        sides = ", ".join(f"{side} {count}" for side, count in found["dialogues"].items())
        print(f"{name}: {sides} dialogues; {found['left_out']} left out")


if __name__ == "__main__":
    raise SystemExit(run(main))
