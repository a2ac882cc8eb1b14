"""Contamination against a person's verdicts on pairs of real sets (tests/judgement)."""

import json
from pathlib import Path

import numpy as np
from mindtune.data.contamination import HeldOut, HeldOutTexts, Search
from mindtune.data.duplicates import level
from mindtune.data.ngrams import gram_hashes

ROWS = Path(__file__).parents[2] / "judgement/contamination.jsonl"
SOURCES = {"question": "questions.jsonl", "reply": "test"}


def is_hit(row):
    """The verdict of the rules, where the training side says the text's n-grams as often as
    there.
    """
    held_out = HeldOutTexts([HeldOut("x", SOURCES[row["source"]], row["held_out"])], 13)
    seen = np.zeros(len(held_out.index.table.hashes), dtype=np.int64)
    times = np.repeat(*np.array(row["seen"]).T)
    at, place = held_out.index.table.find(gram_hashes([level(row["held_out"])], 13)[0])
    seen[place] = times[at]
    return bool(Search(held_out, seen, 0.5, 0.6).hits([row["turn"]]))


def test_hits_are_what_a_person_calls_a_leak():
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 200
    right = wrong = missed = 0
    for row in rows:
        hit = is_hit(row)
        right += hit and row["leak"]
        wrong += hit and not row["leak"]
        missed += row["leak"] and not hit
    print(f"{len(rows)} pairs: {right} right, {wrong} wrong, {missed} missed")
    assert right + wrong >= 100
    assert right / (right + wrong) >= 0.9
    assert right / (right + missed) >= 0.9
