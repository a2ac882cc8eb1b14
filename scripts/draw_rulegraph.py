"""Draw Snakemake's rule graph as a picture in layers, without graphviz.

Reads the dot text of `snakemake --rulegraph dot` (a file, or - for standard input). Writes an SVG,
without the arrows that a longer path already implies, since what feeds every rule would hide the
rest, and a Mermaid diagram with all arrows.
"""

import argparse
import json
import sys
from pathlib import Path

from mindtune.audit.layers import parse_dot, reduced
from mindtune.audit.rulegraph import COLOURS, draw, mermaid
from mindtune.cli import UserError, argument_parser, run
from mindtune.records import write_record, write_text


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--dot",
        required=True,
        help="the output of `snakemake --rulegraph dot`, or - for standard input",
    )
    parser.add_argument(
        "--families", type=json.loads, required=True, help="JSON {rule: family}, for the colours"
    )
    parser.add_argument("--svg", type=Path, required=True)
    parser.add_argument("--mermaid", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    args = parse()
    strange = sorted(set(args.families.values()) - COLOURS.keys())
    if strange:
        raise UserError(
            f"--families names the family {strange[0]!r}; known are {', '.join(COLOURS)}"
        )
    text = sys.stdin.read() if args.dot == "-" else Path(args.dot).read_text(encoding="utf-8")
    # whether the environments' rules are in the graph depends on what this machine has built
    # already
    names, edges = parse_dot(text)
    names = [name for name in names if args.families.get(name) != "env"]
    edges = [edge for edge in edges if set(edge) <= set(names)]
    graph = reduced(names, edges)
    draw(graph, args.families, args.svg)
    write_text(args.mermaid, mermaid(names, edges, args.families))
    write_record(
        args.record,
        "rulegraph",
        inputs=[],
        outputs=[args.svg, args.mermaid],
        params={"families": args.families},
        facts={"rules": len(names), "arrows": len(edges), "drawn": graph.number_of_edges()},
        packages=["matplotlib", "networkx"],
    )
    print(f"drew {len(names)} rules and {graph.number_of_edges()} of {len(edges)} arrows")


if __name__ == "__main__":
    raise SystemExit(run(main))
