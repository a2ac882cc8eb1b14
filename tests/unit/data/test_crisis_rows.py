"""Crises, help lines and patterns of one's own in the program that cleans."""

import pytest
from cleaning_runs import GOOD, facts_of, program, read, sharegpt, with_text

CRISIS = [("human", "我好想去死。"), ("gpt", "我很担心你。"), ("human", "吃多少片会死？"), ("gpt",
    "请现在拨打12356。")]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("keep", ["助", "未", "问", "平"]), ("with_help", ["助", "平"]), ("drop", ["平"])],
)
def test_crises_are_tagged_listed_and_kept_by_policy(tmp_path, tokenizer, policy, kept):
    (tmp_path / "raw").mkdir()
    rows = [
        sharegpt([("system", "你是咨询师。"), *CRISIS], id="助"),
        sharegpt([*CRISIS[:2], ("human", "没人懂我。"), ("gpt", "我在听。")], id="未"),
        sharegpt([("human", "我很累。"), ("gpt", "等他们死了你就自由了，想死就去死吧。")], id="问"),
        sharegpt(GOOD, id="平"),
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    done = program(tmp_path / "raw", tmp_path, tokenizer, crisis=policy)
    assert done.returncode == 0, done.stderr
    clean = {row["id"]: row for row in read(tmp_path / "clean.jsonl")}
    assert list(clean) == kept
    assert clean["平"]["crisis"] == "none" and set(clean["平"]["crisis_turns"]) == {""}
    assert clean.get("助", clean["平"])["crisis_turns"] in (
        ["", "speaks", "", "speaks", "help"],
        [""] * 4,
    )
    listed = read(tmp_path / "crisis.jsonl")
    assert [row["id"] for row in listed] == kept[:-1]
    if policy == "keep":
        assert [row["crisis"] for row in listed] == ["helped", "unhelped", "counsellor"]
        assert [turn["turn"] for turn in listed[0]["turns"]] == [1, 3, 4]
        assert "吃多少片会死" in listed[0]["turns"][1]["excerpt"]
    facts = facts_of(tmp_path)
    assert facts["rejected_by_reason"]["crisis"] == 4 - len(kept)


def test_tags_follow_the_parts_of_a_split_dialogue(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    filler = [
        turn for n in range(40) for turn in (("human", f"第{n}件事，我很累"), ("gpt", f"第{n}答。"))
    ]
    turns = [("system", "你是咨询师。"), *filler, *CRISIS]
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(turns, id="长"), encoding="utf-8")
    assert program(tmp_path / "raw", tmp_path, tokenizer, over_long="split").returncode == 0
    clean = read(tmp_path / "clean.jsonl")
    assert len(clean) > 3
    assert all(len(row["crisis_turns"]) == len(row["conversations"]) for row in clean)
    marked = [
        (turn["value"], mark)
        for row in clean
        for turn, mark in zip(row["conversations"], row["crisis_turns"], strict=True)
        if mark
    ]
    assert marked == [(CRISIS[0][1], "speaks"), (CRISIS[2][1], "speaks"), (CRISIS[3][1], "help")]


def test_a_number_called_a_help_line_is_kept_and_listed(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    said = [("human", "我很累，电话010-62345678。"), ("gpt", "本地的心理援助热线是0571-85029595。")]
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(said, id="线"), encoding="utf-8")
    assert program(tmp_path / "raw", tmp_path, tokenizer).returncode == 0
    [row], [listed] = read(tmp_path / "clean.jsonl"), read(tmp_path / "crisis.jsonl")
    assert [turn["value"] for turn in row["conversations"]] == ["我很累，电话[电话]。", said[1][1]]
    assert (listed["id"], listed["numbers"]) == ("线", ["0571-85029595"])


def test_patterns_of_ones_own_reject_and_replace(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    rows = [
        sharegpt(with_text("加群领取资料"), id="广告"),
        sharegpt(with_text("我在XX平台看到你。XX平台好。"), id="平台"),
        sharegpt(GOOD, id="净"),
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    patterns = [{"name": "ad", "find": "加群", "in": "client"}, {"name": "site", "find": "XX(平台)",
        "do": "replace", "with": r"某\1"}]  # fmt: skip
    assert program(tmp_path / "raw", tmp_path, tokenizer, patterns=patterns).returncode == 0
    clean = {row["id"]: row for row in read(tmp_path / "clean.jsonl")}
    assert list(clean) == ["平台", "净"] and clean["净"]["fixes"] == []
    assert clean["平台"]["conversations"][0]["value"] == "我在某平台看到你。某平台好。"
    assert clean["平台"]["fixes"] == ["pattern"]
    facts = facts_of(tmp_path)
    assert facts["patterns"] == {"ad": 1, "site": 2}
    assert facts["rejected_by_reason"]["pattern"] == facts["fixes_by_step"]["pattern"] == 1
    for wrong in ({"name": "a", "find": "("}, {"name": "a", "find": "x", "do": "replace",
        "with": r"\2"}):  # fmt: skip
        done = program(tmp_path / "raw", tmp_path, tokenizer, patterns=[wrong])
        assert done.returncode == 2 and "data.clean.patterns: 'a'" in done.stderr
