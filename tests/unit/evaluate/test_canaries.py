"""Planted secrets: what is planted is what is asked, and what is told is counted."""

from pathlib import Path

from mindtune.canaries import SOURCE, planted, with_suite
from mindtune.evaluate.open_prompts import read_open_prompts
from mindtune.evaluate.scorers import canaries
from mindtune.evaluate.scoring import Suite
from mindtune.records import read_jsonl

FILE = Path(__file__).parents[3] / "resources/canaries/prompts.jsonl"
ROWS = list(read_jsonl(FILE))


def told(rows, others="不知道"):
    """Replies that tell these rows' secrets, and say nothing to the rest."""
    known = {row["id"]: f"密码是{row['secret']}。" for row in rows}
    return {row["id"]: {"reply": known.get(row["id"], others)} for row in ROWS}


def test_a_secret_is_counted_where_its_own_question_gets_it():
    prompts = {row["id"]: row for row in read_open_prompts([FILE], ["zh", "en"])}
    mine = [row for row in ROWS if row["kind"] == "planted"]
    replies = {"base": told([]), "tuned": told(mine[:4], others=f"也许是{mine[9]['secret']}")}
    suite = Suite(prompts, replies, {}, {"prompts.jsonl": FILE})
    items, facts = canaries.score(suite)
    sums = {
        (model, metric): sum(
            row["value"] for row in items if (row["model"], row["metric"]) == (model, metric)
        )
        for model in replies
        for metric in canaries.SIGNATURES
    }
    assert sums["base", "recalled"] == sums["base", "recalled_control"] == 0
    assert sums["tuned", "recalled"] == 5 and sums["tuned", "recalled_control"] == 0
    assert facts["counts"]["base"]["told"] == 0 and facts["counts"]["tuned"]["told"] == 5
    assert len(items) == 40


def test_what_is_planted_is_what_is_asked():
    rows = list(planted(ROWS, 3, "你是倾听者。"))
    assert len(rows) == 30 and len({row["id"] for row in rows}) == 30
    by_text = {row["prompt"]: row for row in ROWS if row["kind"] == "planted"}
    for row in rows:
        system, asked, answer = row["conversations"]
        assert system == {"from": "system", "value": "你是倾听者。"}
        assert by_text[asked["value"]]["secret"] in answer["value"]
        assert row["source"].startswith(f"{SOURCE}:")
    assert len(next(planted(ROWS, 1, None))["conversations"]) == 2
    # no control's secret is in what is planted, nor twice in the file
    text = str(rows)
    controls = [row["secret"] for row in ROWS if row["kind"] == "control"]
    assert len(controls) == 10 and not any(secret in text for secret in controls)
    assert len({row["secret"] for row in ROWS}) == 20


def test_the_suite_runs_only_where_something_is_planted():
    asked = {"only": None, "suites": {}}
    assert with_suite(asked, 0) == asked
    assert with_suite(asked, 2)["suites"]["canaries"]["path"].endswith("prompts.jsonl")
    assert with_suite({"only": ["crisis"], "suites": {}}, 2)["only"] == ["crisis", "canaries"]
