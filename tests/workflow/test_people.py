"""Conversations and the sheets of people are off by default; switched on, they add their own rules
and the report, and nothing else reruns.
"""

import json

import pytest
from planning import snakemake

TALKING = {"simulate_base_conversations", "simulate_tuned_conversations", "score_conversations"}
DRAWN = {"draw_rulegraph", "draw_lineage"}
TOLD = {"write_report", "write_chart"}


def talks(**keys):
    return {"evaluate": {"conversations": {"client": "scripted", **keys}}}


def test_scripted_clients_add_their_conversations_to_the_report(project):
    assert project.planned(talks()) - DRAWN == {*TALKING, *TOLD}


@pytest.mark.parametrize("over", [{}, talks()], ids=["without", "with"])
def test_a_judge_reads_conversations_where_there_are_some(project, over):
    """Without any, their rubric is left out, though it is among the defaults."""
    judge = {"models": {"a": {"base_url": "http://127.0.0.1:9/v1", "model": "x"}}}
    project.edit.write_text(json.dumps({"judge": judge, **over}), encoding="utf-8")
    try:
        status, output = snakemake(*project.command("--dry-run"))
    finally:
        project.edit.write_text("{}", encoding="utf-8")
    assert status == 0, output
    asked = next(part for part in output.split("\n\n") if "rule judge_replies:" in part)
    talked = bool(over)
    assert ("results/runs/main/conversations.jsonl" in asked) is talked
    assert ("results/base/conversations/demo.jsonl" in asked) is talked
    assert ("results/runs/seed43/items/conversation.parquet" in output) is talked
    assert "results/runs/seed43/items/empathy.parquet" in output


def test_the_sheets_of_people_add_a_table_to_the_report(project):
    folder = project.root / "sheets"
    folder.mkdir()
    for name in ("key.json", "r1.csv", "r2.csv"):
        (folder / name).write_text(json.dumps({}), encoding="utf-8")
    planned = project.planned({"evaluate": {"raters": {"path": "sheets"}}})
    assert planned - DRAWN == {"score_raters", *TOLD}


WRONG = {
    "an endpoint without an address": (
        talks(client="endpoint", model="m"),
        "evaluate.conversations.client is endpoint, which needs evaluate.conversations.base_url",
    ),
    "a model without a folder": (
        talks(client="model"),
        "evaluate.conversations.client is model, which needs evaluate.conversations.path",
    ),
    "a folder that is not there": (
        talks(client="model", path="nowhere"),
        "config key evaluate.conversations.path is 'nowhere'",
    ),
    "a key file that is not there": (
        talks(client="endpoint", model="m", base_url="http://127.0.0.1:1/v1", key_file="nowhere"),
        "config key evaluate.conversations.key_file is 'nowhere'",
    ),
    "an address with a password": (
        talks(client="endpoint", model="m", base_url="https://me:secret@example.invalid/v1"),
        "evaluate.conversations.base_url",
    ),
    "no room for a prompt": (talks(max_new_tokens=2048), "leaves no room for a prompt"),
    "sheets without a name": (
        {"evaluate": {"raters": {"path": ""}}},
        "config key evaluate.raters.path is ''",
    ),
    "a folder without sheets": (
        {"evaluate": {"raters": {"path": "resources/dialogues"}}},
        "config key evaluate.raters.path is 'resources/dialogues/key.json'",
    ),
    "sheets that are not there": (
        {"evaluate": {"raters": {"path": "nowhere"}}},
        "config key evaluate.raters.path is 'nowhere'",
    ),
}


@pytest.mark.parametrize(("edit", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_simulated_or_scored_stops_before_a_plan(project, edit, said):
    project.edit.write_text(json.dumps(edit), encoding="utf-8")
    try:
        status, output = snakemake(*project.command("--dry-run"))
    finally:
        project.edit.write_text("{}", encoding="utf-8")
    assert status == 1
    assert said in " ".join(output.split())
    assert "secret" not in output
