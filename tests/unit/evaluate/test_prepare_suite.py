"""A suite's data become prompts: the system prompt of the training, hashes, what was left out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mindtune.chat_template import system_of_most
from mindtune.records import read_jsonl, sha256_file

ROOT = Path(__file__).parents[3]
ASKED = {"dirt": "refuse", "categories": [], "system": None, "max_items": None, "sha256": None}
SYSTEM = "你是一位心理咨询师。"


def write(path, rows):
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def dialogue(system):
    turns = [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "你好，请说"}]
    return {
        "id": "甲",
        "conversations": [{"from": "system", "value": system}][: bool(system)] + turns,
    }


def prepare(folder, suite, data, **changes):
    spec = yaml.safe_load((ROOT / f"config/suites/{suite}.yaml").read_text(encoding="utf-8"))
    spec = ASKED | {"instruction": {}, "shuffles": 0} | spec | changes
    train = write(folder / "train.jsonl", [dialogue(SYSTEM), dialogue(SYSTEM), dialogue("")])
    flags = {
        "--suite": suite, "--spec": json.dumps(spec),
        "--settings": json.dumps({"system": changes.get("over")}),
        "--data": data, "--train": train, "--prompts": folder / "p.jsonl",
        "--record": folder / "p.json",
    }  # fmt: skip
    command = [sys.executable, ROOT / "scripts/prepare_suite.py"]
    command += [part for pair in flags.items() for part in pair]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def read(folder):
    lines = (folder / "p.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines], json.loads((folder / "p.json").read_text())


@pytest.mark.parametrize("suite", ["knowledge", "safety", "crisis", "over_refusal"])
def test_the_bundled_suites_become_prompts_with_the_trainings_system_turn(tmp_path, suite):
    path = yaml.safe_load((ROOT / f"config/suites/{suite}.yaml").read_text(encoding="utf-8"))[
        "path"
    ]
    done = prepare(tmp_path, suite, ROOT / path)
    assert done.returncode == 0, done.stderr
    rows, record = read(tmp_path)
    assert len({row["id"] for row in rows}) == len(rows) == record["facts"]["prompts"] >= 20
    for row in rows:
        assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
        assert (
            row["prompt"][0]["content"] == SYSTEM and row["cluster"] and row["lang"] in ("zh", "en")
        )


def test_the_system_prompt_is_that_of_most_training_dialogues(tmp_path):
    for systems, expected in (([SYSTEM, "", SYSTEM], SYSTEM), (["", "", SYSTEM], None), ([], None)):
        path = write(tmp_path / "t.jsonl", map(dialogue, systems))
        assert system_of_most(read_jsonl(path)) == expected


def test_a_given_system_prompt_goes_before_it(tmp_path):
    prepare(tmp_path, "over_refusal", ROOT / "resources/over_refusal/prompts.jsonl", over="简短。")
    assert read(tmp_path)[0][0]["prompt"][0] == {"role": "system", "content": "简短。"}


def test_other_data_than_the_pinned_are_one_sentence(tmp_path):
    data = write(
        tmp_path / "q.jsonl", [{"id": "a", "lang": "zh", "kind": "x", "prompt": "怎么切洋葱？"}]
    )
    done = prepare(tmp_path, "over_refusal", data, sha256="0" * 64)
    assert done.returncode == 2 and "has SHA-256" in done.stderr and "0" * 64 in done.stderr
    assert not (tmp_path / "p.jsonl").exists()
    assert prepare(tmp_path, "over_refusal", data, sha256=sha256_file(data)).returncode == 0


def test_a_prompt_that_stands_there_twice_is_one_sentence(tmp_path):
    row = {"id": "a", "lang": "zh", "kind": "x", "prompt": "怎么切洋葱？"}
    data = write(tmp_path / "q.jsonl", [row, row | {"id": "b"}])
    done = prepare(tmp_path, "over_refusal", data)
    assert done.returncode == 2 and "row 2: b is there already (as a)" in done.stderr


def test_what_is_left_out_is_listed_and_a_form_is_known(tmp_path):
    row = {"id": "a", "lang": "zh", "type": "single", "question": "？", "topic": "t", "answer": "A"}
    rows = [
        row | {"options": {"A": "甲", "B": "乙"}},
        row | {"id": "b", "options": {"A": "甲", "B": "甲"}},
    ]
    data = write(tmp_path / "q.jsonl", rows)
    done = prepare(tmp_path, "knowledge", data)
    assert done.returncode == 2 and "question b: two of its options are equal" in done.stderr
    assert prepare(tmp_path, "knowledge", data, dirt="exclude").returncode == 0
    rows, record = read(tmp_path)
    assert record["facts"]["excluded"] == [{"id": "b", "reason": "two of its options are equal"}]
    done = prepare(tmp_path, "knowledge", data, form="csv")
    assert done.returncode == 2 and "form is 'csv'" in done.stderr and "safetybench" in done.stderr
