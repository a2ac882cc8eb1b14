"""No row is lost, whatever it is, and every counsellor turn is a target once."""

import json
import random
import re
import subprocess

import pytest
from cleaning_runs import GOOD, program, read, sharegpt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cleaning import LABEL, TEXT


@pytest.mark.parametrize("over_long", ["drop", "split"])
def test_huge_rows_stay_bounded(tmp_path, tokenizer, over_long, monkeypatch):
    """A turn of 10 MB and a dialogue of 100,000 turns, within 1.5 GB of data memory."""
    import resource

    (tmp_path / "raw").mkdir()
    rows = [
        sharegpt([("human", "啊" * 3_500_000), ("gpt", "嗯")]),
        sharegpt(
            [turn for n in range(50_000) for turn in (("human", f"我{n}"), ("gpt", f"你{n}"))],
            id="长",
        ),
        sharegpt(GOOD),
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows))
    run = subprocess.run
    limit = 3 << 29
    monkeypatch.setattr(
        subprocess, "run",
        lambda *args, **more: run(*args, **more,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))),
    )  # fmt: skip
    done = program(tmp_path / "raw", tmp_path, tokenizer, over_long=over_long)
    assert done.returncode == 0, done.stderr
    rejected, clean = read(tmp_path / "rejected.jsonl"), read(tmp_path / "clean.jsonl")
    assert [row["reasons"] for row in rejected] == [["over_long"]] * (
        2 if over_long == "drop" else 1
    )
    answers = [
        turn["value"]
        for row in clean
        if row["id"].startswith("长/")
        for turn in row["conversations"]
        if turn["from"] == "gpt"
    ]
    assert answers == ([] if over_long == "drop" else [f"你{n}" for n in range(50_000)])


@pytest.mark.parametrize("line", [
    '{"conversations": 1, "conversations": [{"from": "human", "value": "我累。"}, {"from": "gpt", '
'"value": "说说。"}]}',
    '{"conversations": [{"from": "human", "from": "gpt", "value": "我\\u0000累。"}]}',
    '{"conversations": ' + "[" * 5000 + "]" * 5000 + "}",
    '{"conversations": [{"from": null, "value": {"value": '
'[]}}]}', "[]", '"一句话"', "12", "null", '{"id": {"id": 1}, "conversations": []}',
    '{"conversations": [{"from": "human", "value": "\\ud83d\\u0000\\udc00"}, {"from": "gpt", '
'"value": "嗯"}]}',
])  # fmt: skip
def test_odd_rows_are_accounted_for(tmp_path, tokenizer, line):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(GOOD) + "\n" + line + "\n", encoding="utf-8")
    done = program(tmp_path / "raw", tmp_path, tokenizer)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.returncode == 2 and "a.jsonl row 2" in done.stderr
    else:
        assert len(read(tmp_path / "clean.jsonl")) + len(read(tmp_path / "rejected.jsonl")) == 2


def said(dialogue, turn):
    """A text that names its place and is like no other."""
    signs = random.Random(dialogue * 100 + turn).choices(range(0x4E00, 0x9000), k=12)
    return f"{dialogue}号第{turn}句，" + "".join(map(chr, signs))


def place_of(turn):
    """(dialogue, turn) of a text of `said`."""
    return tuple(map(int, re.match(r"(\d+)号第(\d+)句", turn["value"]).groups()))


def pairs_of(turns):
    texts = [text for _, text in turns]
    return list(zip(texts[::2], texts[1::2], strict=True))


def in_every_form(lists):
    """{form: rows} of dialogues, in every form that has several turns."""
    roles, labels = {"human": "user", "gpt": "assistant"}, {"human": "来访者", "gpt": "心理咨询师"}
    return {
        "sharegpt": [{"conversations": [{"from": r, "value": t} for r, t in [("gpt", "欢迎。"),
        *each, ("human", "再见")]]} for each in lists["sharegpt"]],
        "messages": [{"messages": [{"role": roles[r], "content": t} for r,
        t in each]} for each in lists["messages"]],
        "pairs": [{"conversation": [{"input": a, "output": b} for a,
        b in pairs_of(each)]} for each in lists["pairs"]],
        "alpaca": [{"instruction": pairs_of(each)[-1][0], "output": pairs_of(each)[-1][1],
        "history": pairs_of(each)[:-1]} for each in lists["alpaca"]],
        "prefixed": [[f"{labels[r]}：{t}" for r, t in each] for each in lists["prefixed"]],
    }  # fmt: skip


def test_every_counsellor_turn_is_a_target_once_and_no_history_is_later(tmp_path, tokenizer):
    """The converter's test: turns carry their place, in every form that has several, with repairs
    and splits on the way.
    """

    def turns(dialogue, pairs):
        return [(("human", "gpt")[turn % 2], said(dialogue, turn)) for turn in range(2 * pairs)]

    raw = tmp_path / "raw"
    raw.mkdir()
    lists = {
        form: [turns(100 * index + n, n + 1) for n in range(9)]
        for index, form in enumerate(("sharegpt", "messages", "pairs", "alpaca", "prefixed"), 1)
    }
    for form, entries in in_every_form(lists).items():
        lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
        (raw / f"{form}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert program(raw, tmp_path, tokenizer, over_long="split").returncode == 0
    targets = []
    for row in read(tmp_path / "clean.jsonl"):
        for place, turn in enumerate(row["conversations"]):
            if turn["from"] == "gpt":
                dialogue, number = place_of(turn)
                history = [place_of(earlier) for earlier in row["conversations"][:place]]
                steps = range(number - len(history), number)
                assert history == [(dialogue, step) for step in steps]
                targets.append(turn["value"])
    spoken = [turn for each in lists.values() for dialogue in each for turn in dialogue]
    expected = [text for role, text in spoken if role == "gpt"]
    assert len(targets) == len(set(targets)) and sorted(targets) == sorted(expected)
    assert any(row["id"].endswith("/2") for row in read(tmp_path / "clean.jsonl"))


ROW = st.recursive(
    st.none() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "conversations", "messages", "from", "value", "role"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        ROW
        | st.builds(
            lambda turns: {"conversations": [{"from": a, "value": b} for a, b in turns]},
            st.lists(st.tuples(LABEL, TEXT), max_size=5),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_row_is_lost_whatever_it_is(rows, tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "raw").mkdir()
    (folder / "raw/a.jsonl").write_text("\n".join([sharegpt(GOOD), *map(json.dumps, rows)]))
    done = program(folder / "raw", folder, tokenizer)
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert (
            len(read(folder / "clean.jsonl")) + len(read(folder / "rejected.jsonl"))
            == len(rows) + 1
        )
    else:
        assert "expected sharegpt" in done.stderr
