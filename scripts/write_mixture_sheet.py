"""Describe a mixture of data sets: a data sheet for people, and a Croissant file for programs.

Reads   the records of fetch_dataset, clean_dialogues and split_dialogues of every data set, and
        that of mix_datasets
Writes  DATASHEET.md, croissant.json and the record
"""

import argparse
import json
from pathlib import Path

from mindtune.cli import argument_parser, run
from mindtune.data.croissant import croissant
from mindtune.data.datasheet import mixture_sheet
from mindtune.provenance import check_chain, read_record, read_records
from mindtune.records import write_json, write_record, write_text


def parse_arguments() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--name", required=True, help="the mixture's folder in results/data")
    parser.add_argument(
        "--specs", type=json.loads, required=True, help="JSON: the data sets' entries in the config"
    )
    parser.add_argument("--records", type=Path, nargs="+", required=True)
    parser.add_argument("--mix", type=Path, required=True, help="record of mix_datasets")
    parser.add_argument("--datasheet", type=Path, required=True)
    parser.add_argument("--croissant", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    records, mix = read_records(arguments.records), read_record(arguments.mix)
    check_chain({**records, arguments.mix.as_posix(): mix})
    cleaned = {
        Path(path).parent.name: record["facts"]
        for path, record in records.items()
        if record["stage"] == "clean_dialogues"
    }
    parts = [(name, spec, cleaned[name]) for name, spec in sorted(arguments.specs.items())]
    hashes = {Path(path).name: digest for path, digest in mix["outputs"].items()}
    write_text(arguments.datasheet, mixture_sheet(arguments.name, parts, mix["facts"]))
    write_json(
        arguments.croissant,
        croissant(arguments.name, [spec for _, spec, *_ in parts], mix["facts"], hashes),
    )
    write_record(
        arguments.record,
        "write_mixture_sheet",
        inputs=[*arguments.records, arguments.mix],
        outputs=[arguments.datasheet, arguments.croissant],
        params={"name": arguments.name, "specs": arguments.specs},
        facts={"licences": {name: spec["licence"] for name, spec, *_ in parts}},
        packages=["jinja2", "mlcroissant"],
    )
    print(f"described {arguments.name}")


if __name__ == "__main__":
    raise SystemExit(run(main))
