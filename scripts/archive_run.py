"""Archive a run: all that a stranger needs to check and to repeat it, in one zip whose bytes depend
on nothing else.

Reads every record below results/ and what they name, logs/, benchmarks/, what Snakemake noted of
its jobs, the workflow's code and the environments. A result that is not as recorded stops it:
nothing false is archived. docs/archive.md says what is in it.
"""

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

from deploy.verify_archive import check
from mindtune.audit.bom import bill
from mindtune.audit.code_state import code_files, state_of_code, uncommitted
from mindtune.audit.contents import (
    Contents,
    licences_of,
    logs_of,
    results_of,
    typed,
    with_data,
)
from mindtune.audit.crate import Story, crate
from mindtune.audit.folder import UNKNOWN, WRONG, Hasher, audit, find_records
from mindtune.audit.jobs_done import DoneJob, read_done
from mindtune.audit.machine import freezes, hardware
from mindtune.audit.scrub import known_places, scrub
from mindtune.audit.zipping import Content, entry, write_archive
from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.records import sha256_file, sha256_path, to_json, write_hashed_record

CODE_LICENCE = "https://spdx.org/licenses/Apache-2.0"
PROGRAM = Path(__file__).parent / "deploy/verify_archive.py"


def checked_records(archive: str) -> dict[str, Any]:
    """All records but the archives' own; what they name must be as they say."""
    records = {
        path: record for path, record in find_records().items() if record["stage"] != "archive_run"
    }
    wrong = [
        finding
        for finding in audit(records, Hasher())
        if finding.status in WRONG and finding.status != UNKNOWN
    ]
    if wrong:
        raise UserError(
            f"{wrong[0].path} is {wrong[0].status} ({wrong[0].why}), so {archive} would hold what "
            f"is not true; make audit lists all {len(wrong)} such paths, put them right first"
        )
    return records


def json_bytes(data: Any) -> bytes:
    """JSON as all our files have it."""
    return (to_json(data) + "\n").encode()


def jobs_of(known: dict[str, str]) -> list[DoneJob]:
    """The jobs behind the results, their commands without places of this machine."""
    jobs = [job for job in read_done() if job.rule != "archive_run"]
    return [
        DoneJob(**{**vars(job), "command": scrub(job.command, known), "inputs": tuple(
            scrub(path, known) for path in job.inputs)})
        for job in jobs
    ]  # fmt: skip


def readme(
    contents: Contents, name: str, state: dict[str, str], data: bool, licences: str
) -> bytes:
    """The page that a reader of the archive sees first."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "mindtune/audit"
    pages = Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, autoescape=False,
        trim_blocks=False, keep_trailing_newline=True,
    )  # fmt: skip
    text = pages.get_template("archive_readme.md.j2").render(
        run=name, version=version_of(), commit=state.get("commit"), data=data, licences=licences,
        patched="uncommitted_sha256" in state, withheld=contents.withheld,
        reasons=sorted({about["why"] for about in contents.withheld.values()}),
    )  # fmt: skip
    return text.encode()


def version_of() -> str | None:
    """The version of the workflow, from its citation file."""
    path = Path(__file__).parents[1] / "CITATION.cff"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r"^version:\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else None


def code_part(code: Path) -> dict[str, Content]:
    """The workflow's files, and how they differ from their commit."""
    files: dict[str, Content] = {f"code/{name}": code / name for name in code_files(code)}
    patch = uncommitted(code)
    files |= {"uncommitted.diff": patch} if patch else {}
    citation = code / "CITATION.cff"
    return files | ({"CITATION.cff": citation} if citation.is_file() else {})


def gather(args: argparse.Namespace) -> tuple[dict[str, Content], dict[str, Any], dict[str, Any]]:
    """(files of the archive, the rest of its manifest, the records)."""
    start = json.loads(args.start.read_text(encoding="utf-8"))
    config, environments = start["config"], start["environments"]
    records = checked_records(args.archive.as_posix())
    licences = licences_of(config)
    data = with_data(args.settings["data"], licences)
    contents = results_of(records, args.run, data, args.settings["weights"])
    known = known_places(args.code, environments)
    state, frozen = state_of_code(args.code), freezes(environments)
    files = contents.files | code_part(args.code) | logs_of(known, data)
    files |= {f"environments/{name}.txt": text.encode() for name, text in frozen.items()}
    jobs = jobs_of(known)
    files |= {
        "README.md": readme(contents, args.run, state, data, ", ".join(licences)),
        "bom.json": json_bytes(bill(args.run, config, records, frozen)),
        "config.json": scrub_config(typed(config), known),
        "hardware.json": json_bytes(hardware()),
        "jobs.json": json_bytes([vars(job) for job in jobs]),
        "verify_archive.py": PROGRAM,
    }
    listed = {name: entry(files[name]) for name in sorted(files)}
    story = Story(
        args.run, listed, contents.withheld, jobs, f"MindTune run {args.run}", CODE_LICENCE,
        args.about.get("snakemake"), version_of(),
    )  # fmt: skip
    files["ro-crate-metadata.json"] = json_bytes(crate(story))
    about = {
        "format": 1, "run": args.run, "code": state, "dialogues": data,
        "withheld": contents.withheld,
        "code_from_work": os.path.relpath(args.code), **args.about, **args.settings,
    }  # fmt: skip
    return files, about, records


def scrub_config(config: dict[str, Any], known: dict[str, str]) -> bytes:
    """The resolved configuration; a path of this machine in it is cut to its name."""
    return scrub(json_bytes(config).decode(), known).encode()


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--run", required=True, help="the run whose weights may go into it")
    parser.add_argument("--start", type=Path, required=True, help="what the start wrote down")
    parser.add_argument("--code", type=Path, required=True, help="folder of the workflow")
    add_json(parser, "--settings", "data", "weights")
    parser.add_argument("--about", type=json.loads, required=True, help="JSON: facts of the start")
    parser.add_argument("--archive", type=Path, required=True, help="the zip to write")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    files, about, records = gather(args)
    write_archive(args.archive, files, about)
    wrong, manifest = check(args.archive)
    if wrong:
        args.archive.unlink()
        raise UserError(f"{args.archive}: {wrong[0]}, though it was just written; run again")
    digest = sha256_file(args.archive)
    write_hashed_record(
        args.record,
        "archive_run",
        inputs={name: sha256_path(name) for name in records},
        outputs={args.archive.as_posix(): digest},
        params=args.settings | {"run": args.run},
        facts={"files": len(manifest["files"]), "withheld": len(manifest["withheld"]),
               "bytes": args.archive.stat().st_size, **about["code"]},
        packages=["jinja2"],
    )  # fmt: skip
    print(f"archived {len(files)} files, {args.archive.stat().st_size:,} bytes, as {args.archive}")
    print(f"its SHA-256 is {digest}: publish that beside it, for --expect")


if __name__ == "__main__":
    raise SystemExit(run(main))
