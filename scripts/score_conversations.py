"""Did the simulated clients stay clients, with base and with tuned? Counted in the transcripts by
rules, beside how often the hidden thing was said.

Reads   the transcripts of base and tuned, the personas and their styles
Writes  a table as CSV and as Markdown, and a record
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate.client_drift import KINDS, ONCE, shares
from mindtune.evaluate.personas import read_personas, read_styles
from mindtune.evaluate.transcripts import read_transcripts
from mindtune.markdown import markdown_text
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import read_jsonl, write_record, write_text

READING = (
    "Shares of the client's words after its first ones, and for the last two of conversations, "
    "found by rules, with 95 % intervals over conversations. The difference is tuned - base, a "
    "mean over conversations."
)
SCRIPTED = " The client is a script, so this says that the chain works, and nothing of a model."


def cell(row: dict[str, Any], name: str, prefix: str) -> str:
    """A share with its interval."""
    low, high = row.get(f"{prefix}low"), row.get(f"{prefix}high")
    return f"{row[name]:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def markdown(rows: list[dict[str, Any]], title: str, client: str) -> str:
    """The table for a reader."""
    words = KINDS | {"any": "any of these"} | ONCE
    shown = pd.DataFrame(
        [
            {
                "the client": words[row["kind"]],
                "base": cell(row, "base", "base_"),
                "tuned": cell(row, "tuned", "tuned_"),
                "tuned - base": cell(row, "difference", ""),
                "n": f"{row['base_n']}, {row['tuned_n']}",
            }
            for row in rows
        ]
    ).map(markdown_text)
    table = shown.to_markdown(index=False, disable_numparse=True)
    note = READING + (SCRIPTED if client == "scripted" else "")
    return f"## {markdown_text(title)}\n\n{note}\n\n{table}\n"


def parse_args() -> argparse.Namespace:
    flags = argument_parser(__doc__)
    flags.add_argument("--run", required=True)
    for name in ("base", "tuned", "personas", "styles"):
        flags.add_argument(f"--{name}", required=True, type=Path)
    add_made_by(flags)
    for name in ("csv", "markdown", "record"):
        flags.add_argument(f"--{name}", required=True, type=Path)
    return flags.parse_args()


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([args.base, args.tuned, args.personas, args.styles], args.made_by)
    personas = {one.name: one for one in read_personas(args.personas, read_styles(args.styles))}
    found = {
        model: read_transcripts(path, personas)
        for model, path in (("base", args.base), ("tuned", args.tuned))
    }
    if found["base"].keys() != found["tuned"].keys():
        raise UserError(
            f"{args.base} and {args.tuned} have other clients; simulate both conversations again"
        )
    first = next(read_jsonl(args.tuned))
    rows = shares(found, personas)
    text = markdown(rows, f"Simulated clients ({first['client']}): {args.run}", first["client"])
    write_text(args.csv, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    write_text(args.markdown, text)
    write_record(
        args.record,
        "score_conversations",
        inputs=inputs,
        outputs=[args.csv, args.markdown],
        params={"run": args.run},
        facts={"client": first["client"], "seed": first["seed"], "drift": rows},
        packages=["numpy", "pandas", "scipy", "tabulate"],
    )
    print(text)


if __name__ == "__main__":
    raise SystemExit(run(main))
