"""Describe a cleaned and split dataset: a data sheet for people, and a Croissant file for programs.

Reads   the records of fetch_dataset, clean_dialogues and split_dialogues
Writes  DATASHEET.md, croissant.json and the record
"""

import json
from pathlib import Path

from mindtune.cli import argument_parser, run
from mindtune.data.croissant import croissant
from mindtune.data.datasheet import datasheet
from mindtune.provenance import check_chain, read_records
from mindtune.records import write_json, write_record, write_text


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--name", required=True, help="the dataset's name in the config")
    parser.add_argument(
        "--spec", type=json.loads, required=True, help="JSON: the dataset's entry in the config"
    )
    for stage in ("fetch", "clean", "split"):
        parser.add_argument(
            f"--{stage}", type=Path, required=True, help=f"record of the {stage} stage"
        )
    parser.add_argument("--datasheet", type=Path, required=True)
    parser.add_argument("--croissant", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    paths = [arguments.fetch, arguments.clean, arguments.split]
    records = read_records(paths)
    check_chain(records)
    fetch, clean, split = records.values()
    hashes = {Path(path).name: digest for path, digest in split["outputs"].items()}
    sheet = datasheet(
        arguments.name, arguments.spec, fetch["facts"], clean["facts"], split["facts"]
    )
    write_text(arguments.datasheet, sheet)
    write_json(
        arguments.croissant, croissant(arguments.name, arguments.spec, split["facts"], hashes)
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
