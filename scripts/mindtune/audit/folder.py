"""Look over a results folder by its records: which files are as recorded, changed, missing, or in
no record.

Paths are as the records name them, so the working directory must be the workflow's. No package is
needed but Python's own.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mindtune.audit.hashing import Hasher, files_of
from mindtune.provenance import Record
from mindtune.records import list_files, read_json, seal

RESULTS = Path("results")
PLACES = (
    "*.json", "base/*.json", "base/replies/*/*.json", "base/baselines/*/*/*.json",
    "base/letters/*/*.json", "prompts/*/*.json", "suites/*/*.json", "data/*/*.json",
    "runs/*/*.json", "runs/*/replies/*.json",
    "runs/*/letters/*.json", "runs/*/scores/*.json", "tables/*.json", "report/*.json",
    "archive/*.json", "starts/*.json", "raters/*/blind_sheet.json",
    "base/conversations/*.json", "judge/judge_replies.json",
)  # fmt: skip
# Which record names an output that is in none: a pattern of its path, and the record's path
MAKERS = (
    (r"results/base/(model|tokenizer)", r"results/base/fetch_\1.json"),
    (r"(results/data/[^/]+)/raw", r"\1/fetch_dataset.json"),
    (r"(results/suites/[^/]+)/raw", r"\1/fetch_suite.json"),
    (r"(results/data/[^/]+)/(clean|rejected|crisis)\.jsonl", r"\1/clean_dialogues.json"),
    (
        r"(results/data/[^/]+\+[^/]+)/(train|dev|test|contamination|left_out)\.jsonl",
        r"\1/mix_datasets.json",
    ),
    (r"(results/data/[^/]+)/(train|dev|test|contamination)\.jsonl", r"\1/split_dialogues.json"),
    (
        r"(results/data/[^/]+\+[^/]+)/(DATASHEET\.md|croissant\.json)",
        r"\1/write_mixture_sheet.json",
    ),
    (r"(results/data/[^/]+)/(DATASHEET\.md|croissant\.json)", r"\1/write_datasheet.json"),
    (r"(results/data/[^/]+)/perplexity\.parquet", r"\1/measure_perplexity.json"),
    (r"(results/data/[^/]+)/paraphrases\.jsonl", r"\1/find_paraphrases.json"),
    (r"(results/data/[^/]+)/cached", r"\1/cache_dataset.json"),
    (r"(results/runs/[^/]+)/cached", r"\1/order_dialogues.json"),
    (r"(results/runs/[^/]+)/figures/(lengths|fill)\.svg", r"\1/pack_stats.json"),
    (r"(results/runs/[^/]+)/(adapter|history\.csv|figures/loss\.svg)", r"\1/train_lora.json"),
    (r"(results/runs/[^/]+)/merged", r"\1/merge_adapter.json"),
    (r"(results/runs/[^/]+)/export", r"\1/export_model.json"),
    (r"(results/.+/(?:replies|baselines|letters|conversations)/.+)\.jsonl", r"\1.json"),
    (r"(results/runs/[^/]+)/conversations\.jsonl", r"\1/conversations.json"),
    (r"(results/runs/[^/]+)/drift\.(csv|md)", r"\1/score_conversations.json"),
    (r"(results/prompts/.+)\.jsonl", r"\1.json"),
    (r"(results/judge)/answers\.jsonl", r"\1/judge_replies.json"),
    (r"(results/runs/[^/]+)/items/(.+)\.parquet", r"\1/scores/\2.json"),
    (r"results/tables/raters\.(csv|md|jsonl)", r"results/tables/score_raters.json"),
    (r"(results/raters/[^/]+)/(key\.json|send)", r"\1/blind_sheet.json"),
    (r"results/tables/.+\.(csv|md|tex|svg)", r"results/tables/evaluation_table.json"),
    (r"results/report/(rulegraph\.svg|dag\.mmd)", r"results/report/rulegraph.json"),
    (r"results/report/report\.html", r"results/report/write_report.json"),
    (r"results/report/chart\.md", r"results/report/write_chart.json"),
    (r"results/report/(lineage\.html|graphs)", r"results/report/draw_lineage.json"),
    (r"results/export", r"results/export.json"),
    (r"(results/archive/[^/]+)\.zip", r"\1.json"),
)
MOST_NOTES = 5
AS_RECORDED, CHANGED, MISSING, STALE, UNKNOWN = (
    "as recorded",
    "changed",
    "missing",
    "stale",
    "unknown",
)
ELSEWHERE = "not here"
WRONG = (CHANGED, MISSING, STALE, UNKNOWN)


@dataclass(frozen=True, order=True)
class Finding:
    """What is to be said of one path."""

    path: str
    status: str
    why: str = ""


def find_records(results: Path = RESULTS) -> dict[str, Record]:
    """{path: record} of every stage's record below a results folder; a torn one is a UserError
    that names it.
    """
    paths = sorted(path for place in PLACES for path in results.glob(place))
    found = {path.as_posix(): read_json(path) for path in paths}
    return {
        path: record
        for path, record in found.items()
        if isinstance(record, dict) and "stage" in record
    }


def record_of(path: str) -> str:
    """The record that names an output; the path itself where no rule is known to make it."""
    for pattern, record in MAKERS:
        if re.fullmatch(pattern, path):
            return re.sub(pattern, record, path)
    return path


def missing_notes(records: Mapping[str, Record]) -> list[str]:
    """One sentence for each result that is gone although a later one was made from it: Snakemake
    makes it anew only if it is asked to.
    """
    made = {path: name for name, record in records.items() for path in record["outputs"]}
    gone: dict[str, str] = {}
    for name, record in records.items():
        for path in record["inputs"]:
            if path.startswith("results/") and path not in made and path not in records:
                gone.setdefault(record_of(path), name)
    for path, name in made.items():
        if not os.path.exists(path):
            gone.setdefault(path, name)
    notes = [
        (
            f"{path} is missing, and {name} speaks of it; to make it again, ask for it by name: "
            f"snakemake [your options] {path}"
        )
        for path, name in sorted(gone.items())
    ]
    more = (
        [f"{len(notes) - MOST_NOTES} more results are missing; make audit lists them"]
        if len(notes) > MOST_NOTES
        else []
    )
    return notes[:MOST_NOTES] + more


def audit(records: Mapping[str, Record], hasher: Hasher) -> list[Finding]:
    """Everything that the records name, and every file of the results that none names."""
    named = {
        path
        for record in records.values()
        for side in ("inputs", "outputs")
        for path in record[side]
    }
    hasher.prepare({file for path in (*named, *records) for file in files_of(path)})
    found: dict[str, Finding] = {}
    for finding in (
        *check_records(records),
        *check_outputs(records, hasher),
        *check_inputs(records, hasher),
    ):
        before = found.get(finding.path)
        if before is None or before.status not in WRONG:
            found[finding.path] = finding
    covered = {
        *records,
        *(
            file.as_posix()
            for record in records.values()
            for path in record["outputs"]
            for file in files_of(path)
        ),
    }
    for name in list_files(RESULTS):
        if (path := (RESULTS / name).as_posix()) not in covered and path not in found:
            found[path] = Finding(path, UNKNOWN, no_record(path, records))
    return sorted(found.values())


def no_record(path: str, records: Mapping[str, Record]) -> str:
    """Why a file is in no record."""
    folders = [parent.as_posix() for parent in (Path(path), *Path(path).parents)]
    wanted = [
        record
        for folder in folders
        if (record := record_of(folder)) != folder and record not in records
    ]
    return f"its record {wanted[0]} is missing" if wanted else "no record names it"


def check_records(records: Mapping[str, Record]) -> Iterator[Finding]:
    """Whether each record is as its stage wrote it."""
    for name, record in records.items():
        if record.get("seal") == seal(record):
            yield Finding(name, AS_RECORDED)
        else:
            yield Finding(
                name,
                CHANGED,
                "its seal is not that of what it says" if "seal" in record else "it has no seal",
            )


def check_outputs(records: Mapping[str, Record], hasher: Hasher) -> Iterator[Finding]:
    """Whether what each stage made is there, and as it was made."""
    for name, record in records.items():
        for path, digest in record["outputs"].items():
            if not os.path.exists(path):
                yield Finding(path, MISSING, f"{name} names it")
            elif hasher.hash(path) == digest:
                yield Finding(path, AS_RECORDED)
            else:
                yield Finding(
                    path,
                    CHANGED,
                    f"since {record['stage']} made it{which_file(path, record, hasher)}",
                )


def which_file(path: str, record: Record, hasher: Hasher) -> str:
    """The first file of a folder that differs, where the record names the files one by one."""
    files = record["facts"].get("files")
    if not isinstance(files, dict) or not os.path.isdir(path):
        return ""
    found = hasher.files(path)
    wrong = [
        name for name in sorted(files.keys() | found.keys()) if files.get(name) != found.get(name)
    ]
    return f" ({wrong[0]})" if wrong else ""


def check_inputs(records: Mapping[str, Record], hasher: Hasher) -> Iterator[Finding]:
    """Whether each stage read what the stages before it made, and whether what it read from
    elsewhere is as it was.
    """
    made = {
        path: digest for record in records.values() for path, digest in record["outputs"].items()
    }
    for name, record in records.items():
        for path, digest in record["inputs"].items():
            inside = path.startswith("results/")
            if path in made:
                if made[path] != digest:
                    yield Finding(name, STALE, f"it was made from another {path}")
            elif not os.path.exists(path):
                yield Finding(path, MISSING if inside else ELSEWHERE, f"{name} was made from it")
            elif hasher.hash(path) != digest:
                yield Finding(name, STALE, f"it was made from another {path}")
            elif path not in records and inside:
                yield Finding(path, UNKNOWN, no_record(path, records))
            elif not inside:
                yield Finding(path, AS_RECORDED)
