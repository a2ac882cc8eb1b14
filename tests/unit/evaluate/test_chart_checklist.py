"""The CHART checklist names every item, and a record or the authors for each."""

from mindtune.evaluate.chart_checklist import AUTHORS, ITEMS, checklist


def record(stage, **facts):
    return {"stage": stage, "facts": facts}


def test_each_line_is_linked_to_a_record_or_left_to_the_authors():
    judges = {"a": {"model": "m", "dates": ["2026-11-28"]}}
    said = checklist(
        {
            "results/judge/judge_replies.json": record("judge_replies", judges=judges),
            "results/runs/main/scores/empathy.json": record("score_judged"),
        }
    )
    lines = [line for line in said.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(ITEMS)
    by_name = {line.split(" | ")[1]: line for line in lines}
    assert "(<results/runs/main/scores/empathy.json>)" in by_name["performance evaluation"]
    assert "(<results/judge/judge_replies.json>)" in by_name["prompt engineering"]
    assert by_name["funding"].endswith(f"{AUTHORS} |")
    assert "Judges: a (m) on 2026-11-28." in said


def test_without_a_judge_it_says_so():
    assert "Not judged: no endpoint configured." in checklist({})
