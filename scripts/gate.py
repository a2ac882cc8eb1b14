"""Say which gates a run passed, and exit with it: 0 passed, 2 failed, 3 not certified.

Reads the record of decide_gates. It needs no package but Python's own, no GPU and no network.
"""

from pathlib import Path

from mindtune.cli import UserError, argument_parser, run
from mindtune.provenance import read_record

EXIT = {"passed": 0, "failed": 2, "not certified": 3}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--gates", type=Path, required=True, help="results/gates.json")
    parser.add_argument("--run", help="the run to judge; without it, all runs")
    args = parser.parse_args()

    facts = read_record(args.gates)["facts"]
    if args.run and args.run not in facts["verdicts"]:
        raise UserError(
            f"{args.gates} has no run {args.run}; it has {', '.join(sorted(facts['verdicts']))}"
        )
    wanted = [args.run] if args.run else sorted(facts["verdicts"])
    for row in facts["gates"]:
        if row["run"] in wanted:
            print(f"{row['run']}: {row['sentence']}")
    if not facts["gates"]:
        print("no gate is configured, so nothing is certified; set gates in the configuration")
    found = [facts["verdicts"][name] for name in wanted]
    verdict = min(found, key=["failed", "not certified", "passed"].index)
    print(f"gates: {verdict}")
    raise SystemExit(EXIT[verdict])


if __name__ == "__main__":
    raise SystemExit(run(main))
