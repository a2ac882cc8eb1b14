"""Which run a program is about: the one that is named, or the one that rule choose_run chose."""

import argparse
from pathlib import Path

from mindtune.cli import UserError
from mindtune.provenance import read_record


def add_choice(parser: argparse.ArgumentParser) -> None:
    """The flags --run and --choice, of which one is given."""
    parser.add_argument("--run", default="", help="name of the run")
    parser.add_argument(
        "--choice",
        type=Path,
        nargs="*",
        default=[],
        help="the record of choose_run, which names the run in place of --run",
    )


def chosen_run(args: argparse.Namespace) -> str:
    """The run's name by these flags; empty if neither is given."""
    if args.run and args.choice:
        raise UserError(f"--run {args.run} and --choice {args.choice[0]} both name a run; give one")
    for path in args.choice:
        return read_record(path)["facts"]["chosen"]
    return args.run
