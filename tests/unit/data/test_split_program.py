"""The program that splits: no leak, the same for any number of processes, else one sentence."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def program(out, clean, held_out=(), threads=1, **changes):
    chosen = {
        "seed": 42,
        "dev_share": 0.1,
        "test_share": 0.2,
        "near_duplicates": {"ngram_chars": 5, "threshold": 0.6},
        "contamination": {"ngram_chars": 13, "overlap": 0.5, "similarity": 0.8, "remove": True},
    } | changes
    command = [sys.executable, ROOT / "scripts/split_dialogues.py", "--clean", clean, "--held-out",
        *held_out, "--settings", json.dumps(chosen),
               *(part for side in ("train", "dev", "test") for part in (f"--{side}",
                   out / f"{side}.jsonl")),
               "--contamination", out / "contamination.jsonl", "--record",
               out / "split_dialogues.json", "--threads", threads]  # fmt: skip
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120
    )


def row(index, first, answer):
    turns = [{"from": "human", "value": first}, {"from": "gpt", "value": answer}]
    return {
        "id": f"对话-{index}",
        "conversations": turns,
        "source": f"集:{'甲' if index % 2 else '乙'}.jsonl#{index}",
        "fixes": [],
    }


def read(path):
    """The rows of a JSONL file; of a JSON file its one value."""
    text = path.read_text(encoding="utf-8")
    return (
        [json.loads(text)]
        if path.suffix == ".json"
        else [json.loads(line) for line in text.splitlines()]
    )


def write(path, rows):
    path.write_text(
        "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in rows), encoding="utf-8"
    )
    return path


STORY = (
    "昨天我又和父母吵架了，他们总说我不够努力，可是我每天都学到半夜，真的很累，"
    "也不知道还能怎么办才好"
)


def test_program_splits_without_a_leak(tmp_path):
    rows = [
        row(index, f"第{index // 3}件事，我想说说", f"回答{index}，{chr(0x4E00 + index) * 9}")
        for index in range(60)
    ]
    rows += [
        row(60 + index, STORY + "，" + str(index), STORY[::-1] + chr(0x5000 + index))
        for index in range(10)
    ]  # near-duplicates
    clean = write(tmp_path / "clean.jsonl", rows)
    done = program(tmp_path, clean)
    assert done.returncode == 0, done.stderr
    sides = {
        side: (tmp_path / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()
        for side in ("train", "dev", "test")
    }
    lines = clean.read_text(encoding="utf-8").splitlines()
    assert sorted(sum(sides.values(), [])) == sorted(lines)
    assert all(
        found == [line for line in lines if line in set(found)] for found in sides.values()
    ), "the order of rows changed"
    first = {
        side: {json.loads(line)["conversations"][0]["value"] for line in found}
        for side, found in sides.items()
    }
    assert not first["train"] & (first["dev"] | first["test"]) and not first["dev"] & first["test"]
    assert sum(any(STORY in text for text in found) for found in first.values()) == 1
    facts = json.loads((tmp_path / "split_dialogues.json").read_text())["facts"]
    assert (facts["shared_groups"], facts["shared_first_turns"]) == (0, 0)
    assert facts["dialogues"] == {side: len(found) for side, found in sides.items()}
    assert facts["largest_group"] == 10


def test_first_turns_that_are_nearly_the_same_stay_together(tmp_path):
    """`我很自卑…` and `很自卑…`: other answers, other hash, one client."""
    stories = [
        "".join(chr(0x4E00 + (ord(sign) * (n + 2)) % 5000) for sign in STORY) for n in range(30)
    ]
    rows = [
        row(2 * index + twin, story[twin:], chr(0x6000 + 2 * index + twin) * 40)
        for index, story in enumerate(stories)
        for twin in (0, 1)
    ]
    assert program(tmp_path, write(tmp_path / "clean.jsonl", rows)).returncode == 0
    sides = {
        entry["id"]: side
        for side in ("train", "dev", "test")
        for entry in read(tmp_path / f"{side}.jsonl")
    }
    assert all(sides[f"对话-{2 * n}"] == sides[f"对话-{2 * n + 1}"] for n in range(30))
    facts = read(tmp_path / "split_dialogues.json")[0]["facts"]
    assert (facts["near_first_turn_pairs"], facts["shared_near_duplicates"]) == (30, 0)


def test_the_parts_of_one_dialogue_stay_together(tmp_path):
    rows = [
        row(index, f"第{index}件事，我想说说", f"回答{index}，{chr(0x4E00 + index) * 9}")
        for index in range(60)
    ]
    for index, entry in enumerate(rows):
        entry["source"] = f"集:甲.jsonl#{index // 4}"
    assert program(tmp_path, write(tmp_path / "clean.jsonl", rows)).returncode == 0
    sides = [
        {entry["source"] for entry in read(tmp_path / f"{side}.jsonl")}
        for side in ("train", "dev", "test")
    ]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]


def test_the_number_of_processes_changes_nothing(tmp_path):
    """Three pieces of rows, parts of one dialogue on both sides of a seam, a copy in the first and
    the last piece.
    """
    rows = [
        row(index, f"第{index // 2}件事，我想说说", f"回答{index}，{chr(0x4E00 + index) * 30}")
        for index in range(900)
    ]
    rows[400]["source"] = rows[399]["source"]
    rows[899]["conversations"] = [
        turn | {"value": turn["value"] + "好"} for turn in rows[0]["conversations"]
    ]
    clean, made = write(tmp_path / "clean.jsonl", rows), []
    for threads in (1, 2):
        out = tmp_path / str(threads)
        out.mkdir()
        assert program(out, clean, threads=threads).returncode == 0
        made.append(
            {path.name: path.read_bytes().replace(str(out).encode(), b"") for path in out.iterdir()}
        )
        # the seal is over the paths, too
        made[-1]["split_dialogues.json"] = re.sub(
            rb'"seal": "\w+"', b"", made[-1]["split_dialogues.json"]
        )
    assert made[0] == made[1] and len(made[0]) == 5
    side_of = {
        entry["id"]: side
        for side in ("train", "dev", "test")
        for entry in read(tmp_path / f"2/{side}.jsonl")
    }
    assert side_of["对话-399"] == side_of["对话-400"] and side_of["对话-0"] == side_of["对话-899"]


def test_program_refuses_what_cannot_be_split(tmp_path):
    one = write(
        tmp_path / "clean.jsonl", [row(index, "都是同一句话", f"回答{index}") for index in range(9)]
    )
    done = program(tmp_path, one)
    assert (
        done.returncode == 2
        and "form 1 group" in done.stderr
        and not (tmp_path / "train.jsonl").exists()
    )
    assert "is empty" in program(tmp_path, write(tmp_path / "none.jsonl", [])).stderr
    assert "dev_share" in program(tmp_path, one, dev_share=0.9).stderr
