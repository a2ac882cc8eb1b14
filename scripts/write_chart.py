"""Write the CHART checklist of all runs as Markdown, each line linked to the records that answer
it, or left to the authors.

Reads   the records of all stages, whose seals are checked
Writes  the checklist, its links relative to its own folder, and a record
"""

from pathlib import Path

from mindtune.cli import argument_parser, run
from mindtune.evaluate.chart_checklist import AUTHORS, ITEMS, answers, checklist
from mindtune.provenance import add_records, read_records
from mindtune.records import sha256_path, write_record, write_text


def main() -> None:
    parser = argument_parser(__doc__, fromfile_prefix_chars="@")
    add_records(parser)
    parser.add_argument("--chart", type=Path, required=True, help="the checklist to write")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    records = read_records(args.records)
    write_text(args.chart, checklist(records, args.chart.parent.as_posix()))
    answered = {number: answers(records, stages) for number, _, stages in ITEMS}
    write_record(
        args.record,
        "write_chart",
        inputs={path: sha256_path(path) for path in records},
        outputs=[args.chart],
        params={},
        facts={number: paths or AUTHORS for number, paths in answered.items()},
    )
    print(f"wrote {args.chart}: {sum(map(bool, answered.values()))} of {len(ITEMS)} items answered")


if __name__ == "__main__":
    raise SystemExit(run(main))
