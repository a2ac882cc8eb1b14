"""Several data sets laid together: nothing of one's test side in another's training, no copies, and
every dialogue on its own side.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

from mindtune.data.grouping import Grouped
from mindtune.data.mixing import WORTH, leaks
from mindtune.data.splitting import Group
from mindtune.records import read_jsonl

ROOT = Path(__file__).parents[3]
SIDES = ("train", "dev", "test")
SETTINGS = {
    "near_duplicates": {"ngram_chars": 5, "threshold": 0.6},
    "copies": {"ngram_chars": 5, "threshold": 0.8},
    "contamination": {"ngram_chars": 13, "overlap": 0.5, "similarity": 0.8, "remove": True},
}


def story(seed, length=120):
    """A text of its own for every seed."""
    drawn = random.Random(seed)
    return "".join(chr(0x4E00 + drawn.randrange(3000)) for _ in range(length))


def dialogue(name, number, first, answer):
    turns = [{"from": "human", "value": first}, {"from": "gpt", "value": answer}]
    row = {"id": f"{number}", "conversations": turns, "source": f"{name}:f.jsonl#{number}"}
    return row | {"fixes": [], "crisis": "none", "crisis_turns": ["", ""]}


def written(folder, name, sides):
    """The three sides of a data set, given as {side: [(first turn, answer)]}."""
    number = 0
    (folder / name).mkdir()
    for side in SIDES:
        lines = []
        for first, answer in sides[side]:
            lines.append(json.dumps(dialogue(name, number, first, answer), ensure_ascii=False))
            number += 1
        (folder / name / f"{side}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def mixed(folder, *names, threads=1, **changes):
    """Run the program; return what it did and the rows of each file."""
    out = folder / ("mixed" + str(threads))
    words = ["--names", *names]
    for side in SIDES:
        words += [f"--{side}-of", *(folder / name / f"{side}.jsonl" for name in names)]
        words += [f"--{side}", out / f"{side}.jsonl"]
    words += ["--settings", json.dumps(SETTINGS | changes), "--threads", threads]
    words += ["--contamination", out / "contamination.jsonl", "--left-out", out / "left_out.jsonl"]
    words += ["--record", out / "mix_datasets.json"]
    command = [sys.executable, ROOT / "scripts/mix_datasets.py", *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    files = (*SIDES, "left_out", "contamination") if done.returncode == 0 else ()
    return done, {name: list(read_jsonl(out / f"{name}.jsonl")) for name in files}


def plain(start, sides=(8, 3, 4)):
    """Dialogues that nobody else has."""
    return {
        side: [(story(f"{start} {side} {n}"), story(f"{start} {side} {n}!")) for n in range(count)]
        for side, count in zip(SIDES, sides, strict=True)
    }


def two_sets(folder):
    """a and b, with a leak of each kind between b's training and a's held-out sides, and a copy."""
    a, b = plain(1), plain(100)
    near, first, reply, copied = (story(text) for text in ("near", "first", "reply", "copied"))
    a["test"] += [(near, near[::-1]), (first + "我", story("x")), (story("y"), reply)]
    b["train"] += [
        (near, near[::-1] + "好"),  # a near-duplicate
        (first, story("z")),  # nearly the same first turn
        (story("w"), "您好。" + reply),  # the reply to another question
    ]
    a["train"].append((copied, copied[::-1]))
    b["train"].append((copied, copied[::-1] + "嗯"))
    for name, sides in (("a", a), ("b", b)):
        written(folder, name, sides)
    return a, b


def test_nothing_of_a_test_side_is_in_the_training_of_another_set(tmp_path):
    a, b = two_sets(tmp_path)
    done, found = mixed(tmp_path, "a", "b")
    assert done.returncode == 0, done.stderr
    count = len(b["train"])
    went = {row["id"]: row["reason"] for row in found["left_out"]}
    first = count - 4
    assert went == {
        f"b:{first}": "leak",
        f"b:{first + 1}": "leak",
        f"b:{first + 2}": "held_out_text",
        f"b:{first + 3}": "near_duplicate",
    }
    ids = {side: [row["id"] for row in found[side]] for side in SIDES}
    assert len(ids["test"]) == len(a["test"]) + len(b["test"]), "a test dialogue was lost"
    assert len(ids["train"]) == len(a["train"]) + count - 4
    assert [row["id"] for row in found["contamination"]] == [f"b:{first + 2}"]


def test_the_record_counts_by_data_set_and_the_processes_change_nothing(tmp_path):
    two_sets(tmp_path)
    done, one = mixed(tmp_path, "a", "b")
    assert done.returncode == 0, done.stderr
    _, two = mixed(tmp_path, "a", "b", threads=2)
    assert one == two
    facts = json.loads((tmp_path / "mixed1/mix_datasets.json").read_text())["facts"]
    assert facts["datasets"]["b"]["left_out"] == 4 and facts["datasets"]["a"]["left_out"] == 0
    assert facts["left_out"] == {"leak": 2, "near_duplicate": 1}
    assert facts["contamination"]["removed"] == 1
    assert (facts["shared_groups"], facts["shared_first_turns"]) == (0, 0)
    for side in SIDES:
        given = sum(found["dialogues"][side] for found in facts["datasets"].values())
        assert given == facts["dialogues"][side] == len(one[side])


def test_sets_without_anything_in_common_are_laid_together_as_they_are(tmp_path):
    for name, start in (("a", 1), ("b", 100)):
        written(tmp_path, name, plain(start))
    _, found = mixed(tmp_path, "a", "b")
    for side in SIDES:
        rows = [
            row | {"id": f"{name}:{row['id']}"}
            for name in ("a", "b")
            for row in read_jsonl(tmp_path / name / f"{side}.jsonl")
        ]
        assert found[side] == rows
    assert found["left_out"] == []


def test_equal_sets_are_refused(tmp_path):
    sides = plain(1)
    written(tmp_path, "a", sides)
    written(tmp_path, "b", {"train": sides["test"], "dev": sides["dev"], "test": sides["train"]})
    done, _ = mixed(tmp_path, "a", "b")
    assert done.returncode == 2 and "nothing is left of the train side" in done.stderr


def test_a_greeting_does_not_cost_a_thousand_training_dialogues():
    """One test dialogue begins as many training dialogues do: the one goes."""
    few, many = tuple(range(1 + WORTH)), tuple(range(20, 22 + WORTH))
    grouped = Grouped([], [Group("few", "a", few), Group("many", "a", many)], [], [])
    side_of = ["test"] + ["train"] * WORTH + [None] * 9 + ["test"] + ["train"] * (WORTH + 1)
    gone = leaks(grouped, side_of)
    assert set(gone) == {*few[1:], many[0]}
