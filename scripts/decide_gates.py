"""Decide which gates every run passes, from item scores and the policy of the configuration.

Reads the item scores of all runs and suites (Parquet). Writes a record: for every run a verdict
(passed, failed, not certified) and for every gate a sentence with the numbers behind it. A gate
that fails is a result, not an error: `gate.py` turns it into an exit code.
"""

import json
from pathlib import Path
from typing import Any

from mindtune.cli import argument_parser, run
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import write_record


def verdicts(paths: list[Path], policies: dict[str, Any]) -> dict[str, Any]:
    """The facts of the record: {"verdicts": {run: verdict}, "gates": [rows with their run]}."""
    from mindtune.evaluate.gates import decide_gates, overall
    from mindtune.evaluate.items import read_items

    items = read_items(paths)
    rows = {name: decide_gates(items, policies, name) for name in sorted(items["run"].unique())}
    return {
        "verdicts": {
            name: overall([row["verdict"] for row in found]) for name, found in rows.items()
        },
        "gates": [{"run": name} | row for name, found in rows.items() for row in found],
    }


def main() -> None:
    parser = argument_parser(__doc__, fromfile_prefix_chars="@")
    parser.add_argument(
        "--items", type=Path, nargs="+", required=True, help="item scores; or @FILE"
    )
    add_made_by(parser)
    parser.add_argument("--gates", type=json.loads, required=True, help="JSON {gate: policy}")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()

    inputs = hash_inputs(args.items, args.made_by)
    facts = verdicts(args.items, args.gates)
    write_record(
        args.record,
        "decide_gates",
        inputs=inputs,
        outputs=[],
        params={"gates": args.gates},
        facts=facts,
        packages=["pandas", "pyarrow", "scipy"],
    )
    for row in facts["gates"]:
        print(f"{row['run']}: {row['sentence']}")


if __name__ == "__main__":
    raise SystemExit(run(main))
