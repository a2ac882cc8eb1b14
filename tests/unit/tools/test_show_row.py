"""The audit view: the story of a row is the one that the cleaning wrote."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cleaning_runs import (
    GOOD,
    program,
    sharegpt,
    tokenizer,  # noqa: F401 (a fixture)
)
from test_split_program import program as split

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def work(tmp_path_factory, tokenizer):  # noqa: F811
    folder = tmp_path_factory.mktemp("work")
    data = folder / "results/data/集"
    (data / "raw").mkdir(parents=True)
    (folder / "results/base").mkdir()
    shutil.copytree(tokenizer, folder / "results/base/tokenizer")
    long = [
        turn
        for n in range(20)
        for turn in (("human", f"第{n}件事，我很累。"), ("gpt", f"第{n}个回答。"))
    ]
    rows = [
        sharegpt([("gpt", "欢迎。"), ("human", "我很累&nbsp;，电话13800138000"), GOOD[1]], id="修"),
        sharegpt([("妈妈", "孩子不说话。"), GOOD[1]], id="拒"),
        sharegpt(GOOD, id="原"), sharegpt(GOOD, id="抄"), sharegpt(long, id="长"),
    ]  # fmt: skip
    (data / "raw/a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert program(data / "raw", data, tokenizer, over_long="split").returncode == 0
    assert split(data, data / "clean.jsonl").returncode == 0
    return folder


def show(work, identity, dataset="集"):
    command = [sys.executable, ROOT / "scripts/tools/show_row.py", "--workdir", work, "--dataset",
        dataset, "--id", identity, "--hotlines", ROOT / "config/hotlines.yaml"]  # fmt: skip
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120
    )


def test_a_repaired_row_is_shown_step_by_step(work):
    story = show(work, "修").stdout
    places = [story.index(part) for part in (
        "read      a.jsonl row 1 (byte 0)", "step      html", "step      mask_mobile", "step      "
"leading_counsellor_turn",
        "- gpt: '欢迎。'", "kept      修: 2 turns", "replay    equals what was written",
    )]  # fmt: skip
    assert places[0] == 0 and places == sorted(places)
    assert "- human: '我很累&nbsp;，电话13800138000'" in story and "电话[电话]'" in story
    assert any(f"2 turns, {side}" in story for side in ("train", "dev", "test"))


def test_rejected_copied_and_split_rows(work):
    assert (
        "reject    unknown_role" in show(work, "拒").stdout
        and "rejected  unknown_role" in show(work, "拒").stdout
    )
    assert "rejected  exact_duplicate, a copy of 原" in show(work, "抄").stdout
    parts = show(work, "长").stdout
    assert parts.count("kept      长/") > 1 and "replay    equals" in parts


def test_a_row_that_is_not_there(work):
    assert "no row with the id '无'" in show(work, "无").stderr
    assert "is missing; clean the dataset first" in show(work, "修", "别").stderr


def test_a_replay_that_differs_is_said(work):
    clean = work / "results/data/集/clean.jsonl"
    before = clean.read_text(encoding="utf-8")
    clean.write_text(before.replace("失眠多久了？", "失眠几天了？", 1), encoding="utf-8")
    assert "DIFFERS" in show(work, "修").stdout
    clean.write_text(before, encoding="utf-8")
