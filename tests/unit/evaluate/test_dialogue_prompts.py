"""Which counsellor turns of the held-out dialogues are asked, and what stands before them."""

import json

import pytest
from mindtune.cli import UserError
from mindtune.evaluate.dialogue_prompts import (
    choose_dialogues,
    choose_turns,
    cpsycoune_rows,
    dialogue_prompts,
    read_dialogue_prompts,
)


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
    assert (first["id"], first["prompt"], first["reference"]) == (
        "甲#0",
        [system, {"role": "user", "content": "我失眠"}],
        "多久了？",
    )
    assert second["prompt"][2:] == [
        {"role": "assistant", "content": "多久了？"},
        {"role": "user", "content": "两个月"},
    ]
    assert (second["id"], second["reference"]) == ("甲#1", "我们看看作息")


def test_a_dialogues_own_system_turn_stays():
    (prompt,) = dialogue_prompts(
        dialogue("乙", "你好", "你好，请说", system="你是朋友"), None, "简短"
    )
    assert (
        prompt["prompt"][0] == {"role": "system", "content": "你是朋友"}
        and len(prompt["prompt"]) == 2
    )
    (prompt,) = dialogue_prompts(dialogue("乙", "你好", "你好，请说"), None, None)
    assert [message["role"] for message in prompt["prompt"]] == ["user"]


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


ALL = {"max_dialogues": None, "max_turns_per_dialogue": None, "seed": 1}


def topic(folder, turns, name="情绪/1.json"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(turns, ensure_ascii=False), encoding="utf-8")


def test_the_form_of_cpsycoune_asks_every_supporters_turn(tmp_path):
    topic(
        tmp_path,
        ["求助者：我失眠：总是这样", "支持者：多久了？", "求助者：两月", "支持者：看看作息"],
    )
    topic(tmp_path, ["求助者：你好", "支持者：请说", "求助者：再见"], "家庭/2.json")
    found = read_dialogue_prompts(tmp_path, "cpsycoune", ALL, "简短")
    assert [row["id"] for row in found] == ["家庭/2#0", "情绪/1#0", "情绪/1#1"]
    assert found[1]["prompt"] == [
        {"role": "system", "content": "简短"},
        {"role": "user", "content": "我失眠：总是这样"},
    ]
    assert found[2]["reference"] == "看看作息" and found[2]["dialogue"] == "情绪/1"


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        (
            ["求助者：你好", "医生：请说"],
            "turn 2 is '医生：请说'; expected text after 求助者：or 支持者：",
        ),
        (["求助者：", "支持者：请说"], "turn 1 is '求助者：'"),
        ([3], "turn 1 is '3'"),
        ({"a": 1}, "is no list of turns"),
    ],
)
def test_another_form_is_one_sentence(tmp_path, turns, words):
    topic(tmp_path, turns)
    with pytest.raises(UserError) as error:
        cpsycoune_rows(tmp_path)
    assert words.replace("：or", "： or") in str(error.value) and "1.json" in str(error.value)
