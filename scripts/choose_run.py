"""Choose the run whose adapter has the lowest loss on the dev side.

Reads   every run's history.csv, and the record of its training: of which step the adapter is
Writes  a record that names the run, beside the loss of each
"""

from pathlib import Path

from mindtune.cli import argument_parser, run
from mindtune.export.choosing import dev_losses, lowest
from mindtune.provenance import add_made_by, hash_inputs, read_record
from mindtune.records import write_record


def main() -> None:
    parser = argument_parser(__doc__, fromfile_prefix_chars="@")
    parser.add_argument(
        "--histories", type=Path, nargs="+", required=True, help="history.csv of every run"
    )
    add_made_by(parser, required=True)
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    inputs = hash_inputs(args.histories, args.made_by)
    losses = dev_losses(
        {path.parent.name: path for path in args.histories},
        {path.parent.name: read_record(path) for path in args.made_by},
    )
    chosen = lowest(losses)
    write_record(
        args.record,
        "choose_run",
        inputs=inputs,
        outputs=[],
        params={"lowest": "dev_loss"},
        facts={"chosen": chosen, "dev_loss": losses},
    )
    print(f"{chosen} has the lowest dev loss of {len(losses)} runs, {losses[chosen]:.6f}")


if __name__ == "__main__":
    raise SystemExit(run(main))
