"""Describe a cleaned and split dataset: a data sheet for people, and a Croissant file for programs.

Reads   the records of fetch_dataset, clean_dialogues and split_dialogues, and of measure_perplexity
        and find_paraphrases where they ran
Writes  DATASHEET.md, croissant.json and the record
"""

import argparse
import json
from itertools import chain
from pathlib import Path

from mindtune.cli import argument_parser, run
from mindtune.data.croissant import croissant
from mindtune.data.datasheet import datasheet
from mindtune.provenance import check_chain, read_records
from mindtune.records import write_json, write_record, write_text

# Stages that only run where the configuration asks for them
FURTHER = ("perplexity", "paraphrases")


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--name", required=True, help="the dataset's name in the config")
    parser.add_argument(
        "--spec", type=json.loads, required=True, help="JSON: the dataset's entry in the config"
    )
    for stage in ("fetch", "clean", "split"):
        parser.add_argument(
            f"--{stage}", type=Path, required=True, help=f"record of the {stage} stage"
        )
    for stage in FURTHER:
        parser.add_argument(
            f"--{stage}", type=Path, nargs="*", default=[], help="its record, if it ran"
        )
    parser.add_argument("--datasheet", type=Path, required=True)
    parser.add_argument("--croissant", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    arguments = parse_args()
    further = {stage: getattr(arguments, stage) for stage in FURTHER}
    paths = [arguments.fetch, arguments.clean, arguments.split, *chain(*further.values())]
    records = read_records(paths)
    check_chain(records)
    fetch, clean, split = list(records.values())[:3]
    more = {stage: records[path.as_posix()] for stage, given in further.items() for path in given}
    hashes = {Path(path).name: digest for path, digest in split["outputs"].items()}
    sheet = datasheet(
        arguments.name, arguments.spec, fetch["facts"], clean["facts"], split["facts"], more
    )
    write_text(arguments.datasheet, sheet)
    write_json(
        arguments.croissant, croissant(arguments.name, [arguments.spec], split["facts"], hashes)
    )
    write_record(
        arguments.record,
        "write_datasheet",
        inputs=paths,
        outputs=[arguments.datasheet, arguments.croissant],
        params={"name": arguments.name, "spec": arguments.spec},
        facts={"licence": arguments.spec["licence"], "census": clean["facts"]["census"]},
        packages=["jinja2", "mlcroissant"],
    )
    print(
        f"described {arguments.name}: {clean['facts']['kept']} of {clean['facts']['read']} rows "
        f"kept"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
