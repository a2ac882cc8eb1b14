"""Which prompts are asked, in which order, and what the record says about those that are not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from generate_replies import (
    Prompt,
    choose_dialogues,
    choose_turns,
    dialogue_prompts,
    sha256_prompts,
    split_by_room,
)
from mindtune.cli import UserError
from models import build_small_model

ROOT = Path(__file__).resolve().parents[3]
ENGINE = {
    "engine": "transformers", "backend": "pytorch", "model_name": "demo", "tp": 1, "session_len": 200,
    "cache_max_entry_count": 0.8, "device": "cpu", "threads": 1, "startup_timeout_s": 120,
}  # fmt: skip
SETTINGS = {
    "max_new_tokens": 16, "max_dialogues": None, "max_turns_per_dialogue": None, "system": "你是咨询师。", "seed": 42, "concurrency": 8,
}  # fmt: skip


def dialogue(name: str, *turns: str, system: str | None = None) -> dict:
    """A clean row: client and counsellor in turn."""
    said = [
        {"from": ("human", "gpt")[place % 2], "value": turn} for place, turn in enumerate(turns)
    ]
    return {
        "id": name,
        "conversations": ([{"from": "system", "value": system}] if system else []) + said,
    }


def test_the_prompt_is_the_true_history_and_the_reference_the_turn():
    row = dialogue("甲", "我失眠", "多久了？", "两个月", "我们看看作息", "好")
    first, second = dialogue_prompts(row, None, "简短")
    system = {"role": "system", "content": "简短"}
    assert (first.id, first.messages, first.reference) == (
        "甲#0",
        [system, {"role": "user", "content": "我失眠"}],
        "多久了？",
    )
    assert second.messages[2:] == [
        {"role": "assistant", "content": "多久了？"},
        {"role": "user", "content": "两个月"},
    ]
    assert (second.id, second.reference) == ("甲#1", "我们看看作息")


def test_a_dialogues_own_system_turn_stays():
    (prompt,) = dialogue_prompts(
        dialogue("乙", "你好", "你好，请说", system="你是朋友"), None, "简短"
    )
    assert (
        prompt.messages[0] == {"role": "system", "content": "你是朋友"}
        and len(prompt.messages) == 2
    )
    (prompt,) = dialogue_prompts(dialogue("乙", "你好", "你好，请说"), None, None)
    assert [message["role"] for message in prompt.messages] == ["user"]


def test_a_reply_to_nobody_is_refused():
    row = {"id": "丙", "conversations": [{"from": "gpt", "value": "你好"}]}
    with pytest.raises(UserError, match="dialogue 丙: turn 0"):
        dialogue_prompts(row, None, None)


@pytest.mark.parametrize(
    ("count", "limit", "turns"),
    [
        (5, None, [0, 1, 2, 3, 4]),
        (5, 9, [0, 1, 2, 3, 4]),
        (5, 1, [4]),
        (5, 2, [2, 4]),
        (9, 3, [2, 5, 8]),
        (7, 6, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_turns_are_evenly_spaced_and_hold_the_last(count, limit, turns):
    assert choose_turns(count, limit) == turns


def test_turns_are_always_as_many_as_asked_for():
    for count in range(1, 30):
        for limit in range(1, count + 1):
            turns = choose_turns(count, limit)
            assert (
                len(set(turns)) == limit
                and turns == sorted(turns)
                and turns[-1] == count - 1
                and turns[0] >= 0
            )


def test_dialogues_are_drawn_by_seed_and_keep_their_order():
    rows = [dialogue(f"来访{number}", "你好", "请说") for number in range(50)]
    first, again, other = (choose_dialogues(rows, 10, seed) for seed in (42, 42, 43))
    assert first == again != other and len(first) == 10
    assert first == [row for row in rows if row in first] != rows[:10]
    without_one = [row for row in rows if row is not first[3]]
    assert [row for row in first if row is not first[3]] == [
        row for row in choose_dialogues(without_one, 10, 42) if row in first
    ]


def test_prompts_without_room_are_listed():
    prompts = [Prompt("丁", turn, [], "好") for turn in range(3)]
    fitting, skipped = split_by_room(prompts, [100, 101, 99], 100)
    assert [prompt.turn for prompt in fitting] == [0, 2]
    assert skipped == [
        {"id": "丁#1", "reason": "prompt of 101 tokens, over session_len - max_new_tokens = 100"}
    ]


def test_the_prompts_hash_sees_ids_and_text():
    one, two = Prompt("a", 0, [], ""), Prompt("b", 0, [], "")
    hashes = {
        sha256_prompts(prompts, texts)
        for prompts, texts in [
            ([one], ["好"]),
            ([two], ["好"]),
            ([one], ["坏"]),
            ([one, two], ["好", ""]),
        ]
    }
    assert len(hashes) == 4


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, tuple[list[dict], dict, bytes]]:
    """Rows, record and bytes of three runs: one model twice, and another."""
    folder = tmp_path_factory.mktemp("replies")
    prompts = [
        dialogue(f"来访{number}", *("失眠" * (number + 1), "多久了？") * 3) for number in range(8)
    ]
    prompts.append(dialogue("长", "睡不着" * 300, "慢慢说"))
    (folder / "test.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in prompts), encoding="utf-8"
    )
    models = {
        "base": build_small_model(folder / "base", seed=1),
        "tuned": build_small_model(folder / "tuned", seed=2),
    }
    found = {}
    for name, model in (("base", "base"), ("again", "base"), ("tuned", "tuned")):
        flags = {
            "--model": models[model], "--suite": "dialogue", "--prompts": folder / "test.jsonl", "--engine": json.dumps(ENGINE),
            "--engine-python": sys.executable, "--settings": json.dumps(SETTINGS), "--replies": folder / f"{name}.jsonl",
            "--record": folder / f"{name}.json", "--log": folder / f"{name}.log",
        }  # fmt: skip
        command = [
            sys.executable,
            ROOT / "scripts/generate_replies.py",
            *(part for pair in flags.items() for part in pair),
        ]
        subprocess.run(command, check=True)
        rows = [
            json.loads(line)
            for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        found[name] = (
            rows,
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8")),
            (folder / f"{name}.jsonl").read_bytes(),
        )
    return found


def test_every_turn_is_answered_in_order_or_listed(runs):
    rows, record, _ = runs["base"]
    facts = record["facts"]
    expected = [f"来访{number}#{turn}" for number in range(8) for turn in range(3)]
    assert [row["id"] for row in rows] + [entry["id"] for entry in facts["skipped"]] == [
        *expected,
        "长#0",
    ]
    assert (
        facts["n"] == len(rows)
        and facts["skipped_n"] == 1
        and facts["prompts_counted_otherwise_by_server"] == 0
    )
    assert facts["truncated"] == sum(row["finish_reason"] == "length" for row in rows)
    assert all(
        row["prompt_tokens"] + SETTINGS["max_new_tokens"] <= ENGINE["session_len"] for row in rows
    )


def test_equal_runs_give_equal_bytes_and_two_models_see_the_same_prompts(runs):
    assert runs["base"][2] == runs["again"][2]
    base, tuned = runs["base"][1]["facts"], runs["tuned"][1]["facts"]
    assert base["prompts_sha256"] == tuned["prompts_sha256"]
    assert [row["prompt"] for row in runs["base"][0]] == [row["prompt"] for row in runs["tuned"][0]]
    assert [row["reply"] for row in runs["base"][0]] != [row["reply"] for row in runs["tuned"][0]]
