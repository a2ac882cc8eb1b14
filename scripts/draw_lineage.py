"""Draw what came from what: the lineage page, and the graphs of rules, jobs and files beside it.

Reads Snakemake's graph of jobs (mindtune/audit/job_graph.py prints it), the records, the table of
the evaluation, and, for the page alone, what Snakemake noted of its jobs, benchmarks/ and logs/.
Writes one HTML page that needs nothing else, and each graph as SVG, Mermaid and DOT with every
arrow. What a log says is cut to its last lines, without places, names and keys of the machine.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mindtune.audit import graphs
from mindtune.audit.jobs_done import read_done
from mindtune.audit.lineage import (
    Describer,
    describe_rules,
    hashes_of,
    numbers_of,
    without_places,
)
from mindtune.audit.lineage_page import page_data, render
from mindtune.audit.scrub import known_places
from mindtune.cli import argument_parser, run
from mindtune.provenance import add_records, check_chain, hash_inputs, read_records
from mindtune.records import partial_folder, sha256_path, write_hashed_record, write_text

KINDS = {"rules": graphs.rule_graph, "jobs": graphs.job_graph, "files": graphs.file_graph}
FORMS = {"svg": graphs.svg, "mmd": graphs.mermaid, "dot": graphs.dot}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__, fromfile_prefix_chars="@")
    parser.add_argument("--graph", required=True, help="the graph of jobs, JSON; - for stdin")
    add_records(parser)
    parser.add_argument("--table", type=Path, required=True, help="the evaluation, CSV")
    parser.add_argument("--start", type=Path, required=True, help="what the start wrote down")
    parser.add_argument("--code", type=Path, required=True, help="folder of the workflow")
    parser.add_argument("--title", required=True)
    parser.add_argument("--page", type=Path, required=True, help="the HTML page to write")
    parser.add_argument("--graphs", type=Path, required=True, help="the folder to write")
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def places_of(args: argparse.Namespace) -> dict[str, str]:
    """What stands for the places and names of this machine on the page; files of the workflow are
    called as in the repository, wherever it lies.
    """
    start = json.loads(args.start.read_text(encoding="utf-8"))
    known = known_places(args.code, start["environments"]) | {f"{args.code.resolve()}/": ""}
    return known | ({f"{args.code}/": ""} if args.code != Path() else {})


def write_graphs(jobs: list[dict[str, Any]], folder: Path) -> dict[str, int]:
    """Write each graph in each form; {graph: arrows}."""
    drawn = {name: kind(jobs) for name, kind in KINDS.items()}
    with partial_folder(folder) as new:
        for name, graph in drawn.items():
            for suffix, form in FORMS.items():
                write_text(new / f"{name}.{suffix}", form(graph))
    return {name: len(graph.edges) for name, graph in drawn.items()}


def main() -> None:
    args = parse()
    text = sys.stdin.read() if args.graph == "-" else Path(args.graph).read_text(encoding="utf-8")
    known = places_of(args)
    jobs = without_places(json.loads(text), known)
    records = read_records(args.records)
    check_chain(records)
    about = [Path(path) for path, record in records.items()
             if args.table.as_posix() in record["outputs"]]  # fmt: skip
    inputs = hash_inputs([args.table], about) | {path: sha256_path(path) for path in records}
    done = [job for job in read_done() if job.rule != "draw_lineage"]  # an earlier page's
    described = Describer(jobs, records, done, known).page(jobs, hashes_of(records, known) | inputs)
    data = page_data(
        graphs.rule_graph(jobs), describe_rules(jobs), described, numbers_of(args.table, jobs)
    )
    page = render(args.title, data)
    write_text(args.page, page)
    arrows = write_graphs(jobs, args.graphs)
    write_hashed_record(
        args.record,
        "draw_lineage",
        inputs=inputs,
        outputs={path.as_posix(): sha256_path(path) for path in (args.page, args.graphs)},
        params={"title": args.title},
        facts={"jobs": len(jobs), "files": len(data["files"]), "arrows": arrows},
        packages=["jinja2", "networkx"],
    )
    print(f"drew {len(jobs)} jobs and {arrows['jobs']} arrows, {len(page.encode()) / 1e3:.0f} kB")


if __name__ == "__main__":
    raise SystemExit(run(main))
