"""The CHART checklist of a run: each item of the reporting guideline with the record that answers
it, or with what the authors must write themselves.

Items by name and number after CHART (BMJ Medicine 2025, 10.1136/bmjmed-2025-001632); what they ask
in full stands there.
"""

import os
from collections.abc import Collection, Mapping
from typing import Any

from mindtune.markdown import markdown_text

AUTHORS = "for the authors to write"
Records = Mapping[str, Mapping[str, Any]]
# (subitems, name, stages whose records answer it)
ITEMS: list[tuple[str, str, tuple[str, ...]]] = [
    ("1a", "title", ()),
    ("1b", "abstract", ()),
    ("2a, 2b", "background", ()),
    ("3a, 3b", "model identifiers", ("fetch_model", "merge_adapter", "export_model")),
    ("4a to 4c", "model details", ("train_lora", "verify_merge")),
    ("5a, 5b", "prompt engineering", ("prepare_suite", "judge_replies")),
    ("6a to 6d", "query strategy", ("generate_replies", "simulate_conversations")),
    (
        "7a, 7b",
        "performance evaluation",
        ("score_suite", "score_dialogue", "score_judged", "score_conversations", "score_raters"),
    ),
    ("8", "sample size", ("evaluation_table",)),
    ("9a", "data analysis", ("evaluation_table", "decide_gates")),
    ("10a to 10c", "results", ("evaluation_table",)),
    ("11a to 11c", "discussion", ()),
    ("12a", "disclosures", ()),
    ("12b", "funding", ()),
    ("12c", "ethics", ()),
    ("12d", "protocol", ("decide_gates",)),
    ("12e", "data availability", ("fetch_dataset", "write_datasheet")),
]


def judged(records: Records) -> str:
    """Who judged when, for the reader of item 7; or that nobody did."""
    said = [
        f"{name} ({about['model']}) on {', '.join(about['dates']) or 'no date'}"
        for record in records.values()
        if record["stage"] == "judge_replies"
        for name, about in sorted(record["facts"]["judges"].items())
    ]
    return f"Judges: {'; '.join(said)}." if said else "Not judged: no endpoint configured."


def answers(records: Records, stages: Collection[str]) -> list[str]:
    """The paths of the records of these stages, sorted."""
    return [path for path in sorted(records) if records[path]["stage"] in stages]


def checklist(records: Records, folder: str) -> str:
    """The checklist as Markdown, from {path: record} of a working directory; links lead from
    `folder`, in which the checklist lies.
    """
    lines = ["| item | name | answered by |", "|---|---|---|"]
    for number, name, stages in ITEMS:
        links = ", ".join(
            f"[{markdown_text(path)}](<{os.path.relpath(path, folder)}>)"
            for path in answers(records, stages)
        )
        lines.append(f"| {number} | {name} | {links or AUTHORS} |")
    head = (
        "# CHART checklist\n\nA record says what was done; whether that was wise, authors say. The "
        "checklist of ARR, linked in the same way, is in the folder of `make artifact`.\n\n"
    )
    return f"{head}{judged(records)}\n\n" + "\n".join(lines) + "\n"
