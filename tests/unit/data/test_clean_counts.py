"""What the program that cleans counts, caps and splits."""

import random

from cleaning_runs import GOOD, facts_of, program, read, sharegpt
from mindtune.data.cleaning import STEPS


def test_an_over_long_dialogue_is_split_between_pairs(tmp_path, tokenizer):
    """No turn is cut, each part has the system prompt, every counsellor turn is there once, and
    all parts fit.
    """
    from mindtune.chat_template import load_chat, to_messages

    turns = [("system", "你是一位咨询师。")]
    for number in range(40):
        turns += [
            ("human", f"第{number}件事，" + "我很累" * (number % 5)),
            ("gpt", f"第{number}个回答。"),
        ]
    (tmp_path / "raw").mkdir()
    huge = [("human", "说来话长" * 500), ("gpt", "嗯。"), ("human", "还有"), ("gpt", "请说。")]
    lines = [sharegpt(turns, id="长"), sharegpt(GOOD, id="短"), sharegpt(huge, id="巨")]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert program(tmp_path / "raw", tmp_path, tokenizer, over_long="split").returncode == 0
    clean, chat = read(tmp_path / "clean.jsonl"), load_chat(tokenizer)
    parts = clean[:-1]
    names = [f"长/{n + 1}" for n in range(len(parts))]
    assert len(parts) > 3 and [row["id"] for row in clean] == [*names, "短"]
    assert {row["source"] for row in parts} == {"测试:a.jsonl#1"} and all(
        "split" in row["fixes"] for row in parts
    )
    spoken = []
    for row in parts:
        assert row["conversations"][0] == {"from": "system", "value": "你是一位咨询师。"}
        assert chat.count([chat.render(to_messages(row["conversations"]))])[0] <= 400
        said = [(turn["from"], turn["value"]) for turn in row["conversations"][1:]]
        assert said[0][0] == "human" and said[-1][0] == "gpt"
        spoken += said
    assert spoken == turns[1:]
    [rejected] = read(tmp_path / "rejected.jsonl")
    # one pair alone does not fit
    assert (rejected["id"], rejected["reasons"]) == ("巨", ["over_long"])
    facts = facts_of(tmp_path)
    counts = [facts[key] for key in ("read", "kept", "rejected", "dialogues")]
    assert counts == [3, 2, 1, len(parts) + 1]
    assert facts["fixes_by_step"]["split"] == 1


def numbered(number, line="", **more):
    """A dialogue that is like no other."""
    own = "".join(map(chr, random.Random(number).choices(range(0x4E00, 0x9000), k=30)))
    return sharegpt(
        [
            ("human", f"第{number}次来访，{own[:15]}"),
            ("gpt", f"{own[15:]}。"),
            ("human", "好"),
            ("gpt", line or own),
        ],
        **more,
    )


def test_lines_said_too_often_are_capped(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    line = "谢谢你的信任，祝你一切顺利！"
    rows = [
        numbered(number, line if number % 2 else "", id=f"对话{number}") for number in range(12)
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert program(tmp_path / "raw", tmp_path, tokenizer, max_line_repeats=4).returncode == 0
    assert [(row["id"], row["reasons"]) for row in read(tmp_path / "rejected.jsonl")] == [
        ("对话9", ["repeated_line"]), ("对话11", ["repeated_line"]),
    ]  # fmt: skip
    facts = facts_of(tmp_path)
    assert facts["counsellor_lines"]["most"] == [{"first": "对话1", "times": 4}]
    assert facts["counsellor_lines"]["lines"] - facts["counsellor_lines"]["different"] == 3
    steps = {name: name not in ("own_role_tag", "repeated_line") for name in STEPS}
    assert (
        program(tmp_path / "raw", tmp_path, tokenizer, max_line_repeats=4, steps=steps).returncode
        == 0
    )
    assert facts_of(tmp_path)["counsellor_lines"]["most"] == [{"first": "对话1", "times": 6}]


def test_sources_are_mixed_by_weight_and_limit(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    for start, name, count in (
        (0, "甲", 30),
        (100, "乙-1", 5),
        (200, "乙-2", 5),
        (300, "丙", 20),
        (400, "丁", 7),
    ):
        rows = [numbered(start + number, id=f"{name}/{number}") for number in range(count)]
        (tmp_path / f"raw/{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    sources = {
        "甲.jsonl": {"weight": 2, "limit": None},
        "乙-*.jsonl": {"weight": 1, "limit": None},
        "丙.jsonl": {"weight": None, "limit": 6},
    }
    assert program(tmp_path / "raw", tmp_path, tokenizer, sources=sources).returncode == 0
    facts = facts_of(tmp_path)
    kept = {name: file["kept"] for name, file in facts["files"].items()}
    assert kept.pop("乙-1.jsonl") + kept.pop("乙-2.jsonl") == 10
    assert kept == {"甲.jsonl": 20, "丙.jsonl": 6, "丁.jsonl": 7}
    assert (
        facts["rejected_by_reason"]["over_share"] == 24
        and facts["kept"] + facts["rejected"] == facts["read"] == 67
    )
    done = program(
        tmp_path / "raw", tmp_path, tokenizer, sources={"戊.jsonl": {"weight": 1, "limit": None}}
    )
    assert done.returncode == 2 and "戊.jsonl" in done.stderr


def test_the_record_has_the_census_and_the_clusters(raw, tmp_path, tokenizer):
    crisis = [
        ("human", "我不想活了，觉得活着没有意义。"),
        ("gpt", "我很担心你。请现在拨打12356，也可以去医院。"),
    ]
    (raw / "四.jsonl").write_text(
        sharegpt(crisis) + "\n" + sharegpt([crisis[0], ("gpt", "我听到了，你很痛苦。")]),
        encoding="utf-8",
    )
    assert program(raw, tmp_path, tokenizer).returncode == 0
    facts = facts_of(tmp_path)
    assert facts["census"] == {"dialogues": 9, "client_speaks_of_suicide_or_self_harm": 2,
                               "counsellor_points_to_help": 1, "counsellor_names_a_hotline": 1,
                               "only_the_counsellor_speaks_of_it": 0}  # fmt: skip
    assert facts["files"]["四.jsonl"]["census"]["dialogues"] == 2
    assert facts["near_duplicates"] == {
        "clusters": 1,
        "by_size": {"2": 1},
        "largest": [{"kept": "一-5", "dropped": ["一-6"]}],
    }
