"""EvalScope reads what `make export-suites` writes: every question and turn, and no other.

EvalScope has 100 packages of its own and no torch. Install it in an environment of its own (1.14.1
was tried) and name its program: MINDTUNE_EVALSCOPE=FOLDER/bin/evalscope make test-peers.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.evaluate.choice_prompts import question_prompts
from mindtune.evaluate.questions import own_form
from mindtune.records import read_jsonl, write_jsonl

ROOT = Path(__file__).parents[3]
PROGRAM = os.environ.get("MINDTUNE_EVALSCOPE", "")
INSTRUCTION = {"zh": "请选一项。", "en": "Choose one.", "zh_multiple": "x", "en_multiple": "x"}
pytestmark = pytest.mark.skipif(
    not PROGRAM, reason="MINDTUNE_EVALSCOPE names no program: EvalScope is not asked"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of the export, of the bundled questions and of dialogues."""
    folder = tmp_path_factory.mktemp("suites")
    prompts = folder / "results/prompts/demo"
    prompts.mkdir(parents=True)
    questions = [
        row for row in own_form([ROOT / "resources/knowledge/questions.jsonl"]) if not row.multiple
    ]
    for row in questions:
        row.cluster = row.id
    write_jsonl(prompts / "knowledge.jsonl", question_prompts(questions, INSTRUCTION, 0))
    turns = [
        {"role": "system", "content": "简短"},
        {"role": "user", "content": "我失眠\n三周了"},
        {"role": "assistant", "content": "那一定很累。"},
        {"role": "user", "content": "嗯"},
    ]
    rows = [{"id": f"甲#{n}", "prompt": turns[:n], "reference": f"第{n}句"} for n in (2, 4)]
    write_jsonl(prompts / "dialogue.jsonl", rows)
    command = [sys.executable, ROOT / "scripts/tools/export_suites.py", "--workdir", folder]
    command += ["--dataset", "demo", "--out", folder / "out"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "out"


def asked(exported, kind, suite):
    """The rows of EvalScope's review of a suite, by a model that always says the same."""
    where = {kind: {"local_path": str(exported / kind), "subset_list": [suite]}}
    work = exported.parent / kind
    command = [PROGRAM, "eval", "--model", "same", "--eval-type", "mock_llm", "--no-timestamp"]
    command += ["--datasets", kind, "--dataset-args", json.dumps(where), "--work-dir", str(work)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=exported.parent)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = list(read_jsonl(work / f"reviews/same/{kind}_{suite}.jsonl"))
    return sorted(rows, key=lambda row: row["index"])


def test_every_question_is_asked_with_its_options_and_key(exported):
    ours = list(read_jsonl(exported / "general_mcq/knowledge_val.jsonl"))
    theirs = asked(exported, "general_mcq", "knowledge")
    assert len(ours) == len(theirs) >= 20
    for our, their in zip(ours, theirs, strict=True):
        said = their["messages"][0]["content"]
        assert our["question"] in said and their["target"] == [our["answer"]]
        letters = [letter for letter in "ABCDEFGH" if letter in our]
        assert all(f"{letter}) {our[letter]}\n" in f"{said}\n" for letter in letters)
        assert their["sample_score"]["sample_metadata"]["id"] == our["id"]


def test_every_dialogue_is_asked_with_its_system_turn_and_history(exported):
    ours = list(read_jsonl(exported / "general_qa/dialogue.jsonl"))
    theirs = asked(exported, "general_qa", "dialogue")
    for our, their in zip(ours, theirs, strict=True):
        turns = [{key: turn[key] for key in ("role", "content")} for turn in their["messages"]]
        assert turns[:-1] == our["messages"] and their["target"] == [our["answer"]]
