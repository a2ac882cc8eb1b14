"""Further replies of the base: asked with another system turn and in the other order, scored beside
base and tuned, and said with intervals and without p.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from item_scores import binary_pair, item_scores, together
from mindtune.cli import UserError
from mindtune.evaluate import tables
from mindtune.evaluate.baseline_comparison import baseline_sentences, compare_baselines
from mindtune.evaluate.baselines import baseline_paths, with_own_system
from mindtune.evaluate.compare import compare, system_values
from mindtune.evaluate.items import read_items
from replies import SETTINGS, reply_rows

SCRIPTS = Path(__file__).parents[3] / "scripts"
TOLD = {"zh": "你是心理咨询师。", "en": "You are a counsellor."}


def test_the_system_turn_is_replaced_by_the_one_of_the_prompts_language():
    for row in reply_rows(3):
        found = with_own_system(row, TOLD)
        language = "en" if row["dialogue"] in ("work", "family") else "zh"
        assert found["prompt"][0] == {"role": "system", "content": TOLD[language]}
        assert found["prompt"][1:] == row["prompt"][1:] and len(found["prompt"]) == 2
    bare = {"id": "1", "lang": "zh", "prompt": [{"role": "user", "content": "Hello"}]}
    assert [turn["role"] for turn in with_own_system(bare, TOLD)["prompt"]] == ["system", "user"]
    assert with_own_system(bare, TOLD)["prompt"][0]["content"] == TOLD["zh"]


def test_a_folder_that_names_no_baseline_is_refused():
    assert list(baseline_paths([Path("demo/again/crisis.jsonl")])) == ["base_again"]
    with pytest.raises(UserError, match="expected again or prompted"):
        baseline_paths([Path("demo/later/crisis.jsonl")])


def scored(folder, baselines):
    files = {"base": reply_rows(3), "tuned": reply_rows(4)}
    files |= {f"{name}/dialogue": rows for name, rows in baselines.items()}
    for name, rows in files.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [
        sys.executable, SCRIPTS / "score_dialogue.py", "--base", "base.jsonl", "--tuned",
        "tuned.jsonl", "--baselines", *(f"{name}/dialogue.jsonl" for name in baselines),
        "--settings", json.dumps(SETTINGS), "--suite", "dialogue", "--run", "main",
        "--items", "i.parquet", "--scores", "s.json",
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def test_baselines_are_scored_item_by_item_and_may_lack_the_longest_prompts(tmp_path):
    told = [with_own_system(row, TOLD) for row in reply_rows(4)]
    done = scored(tmp_path, {"again": reply_rows(3), "prompted": told[:-1]})
    assert done.returncode == 0, done.stderr
    rows = system_values(read_items([tmp_path / "i.parquet"]))
    of = {(r["model"], r["metric"], r["stratum"]): (r["value"], r["n"]) for r in rows}
    assert of["base_again", "chrF", "zh"] == of["base", "chrF", "zh"]
    assert of["base_prompted", "chrF", "zh"] == of["tuned", "chrF", "zh"]
    assert of["base_prompted", "chrF", "en"][1] == of["tuned", "chrF", "en"][1] - 1


@pytest.mark.parametrize(
    "key, wrong", [("prompt", []), ("reference", "别的回复。"), ("id", "没有#9")]
)
def test_replies_to_other_prompts_are_no_baseline(tmp_path, key, wrong):
    rows = reply_rows(3)
    rows[2][key] = wrong or [{"role": "user", "content": "别的话。"}]
    done = scored(tmp_path, {"again": rows})
    assert done.returncode == 2 and "answers another prompt" in done.stderr
    assert not (tmp_path / "i.parquet").exists()


def test_the_base_asked_again_has_no_system_turn_of_its_own(tmp_path):
    told = [with_own_system(row, TOLD) for row in reply_rows(3)]
    done = scored(tmp_path, {"again": told})
    assert done.returncode == 2 and "again/dialogue.jsonl" in done.stderr
    assert "answers another prompt" in done.stderr


def two_suites():
    draw = np.random.default_rng(1)
    base = draw.normal(20, 4, 60)
    replies = {
        "base": base, "tuned": base + 3 + draw.normal(0, 1, 60), "base_again": base,
        "base_prompted": base + 3 + draw.normal(0, 1, 60),
    }  # fmt: skip
    answers = binary_pair(draw, 400, 0.0)
    answers["base_again"] = answers["base"].copy()
    answers["base_again"][:3] = 1 - answers["base_again"][:3]
    return together([
        item_scores(answers),
        item_scores(replies, suite="dialogue", metric="passed@zh", size=3),
    ])  # fmt: skip


def test_noise_and_the_prompted_base_are_said_with_intervals_and_without_p():
    items = two_suites()
    compared = compare(items)
    rows = compare_baselines(items, compared)
    assert {(row["suite"], row["system"]) for row in rows} == {
        ("knowledge", "base_again-base"), ("dialogue", "base_again-base"),
        ("dialogue", "tuned-base_prompted"),
    }  # fmt: skip
    assert all(row["p"] is None and row["low"] is not None for row in rows)
    said = baseline_sentences(rows)
    assert said[0].startswith("knowledge accuracy, the base served again in the other order: ")
    assert said[1].endswith("has the same value in 1 of 2 primary metrics")
    (prompted,) = (text for text in said if "counselling prompt" in text)
    assert prompted.endswith("no detectable difference")
    (noise,) = (row for row in rows if row["suite"] == "knowledge")
    assert noise["lost"] + noise["gained"] == 3
    long = tables.long_table(system_values(items), compared, {}, rows)
    shown = long[long["system"] == "tuned-base_prompted"].iloc[0]
    assert shown["value"] == rows[-1]["difference"] and shown["p"] is None
    sections = tables.sections(system_values(items), compared, {})
    (table,) = (table for title, _, table in sections if title == "dialogue (zh): systems")
    assert list(table["system"])[:3] == ["base", "base_again", "base_prompted"]
