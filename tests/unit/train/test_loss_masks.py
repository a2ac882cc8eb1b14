"""A counsellor's turn that is not to be learned reaches the trainer as context: its tokens are
there, and none of them has a label.
"""

import json
import subprocess

import pandas
from datasets import load_from_disk
from mindtune.canaries import FILE
from mindtune.records import read_json
from mindtune.safe_loading import load_tokenizer
from training import KIND, ROOT, build_small_model, cache_command, environment, write_dialogues

GOOD, BAD = "听起来您最近很累。", "别想太多，这点小事。"
TURNS = [
    {"from": "system", "value": "你是一位倾听者。"},
    {"from": "human", "value": "我睡不着。"},
    {"from": "gpt", "value": BAD, "loss": False},
    {"from": "human", "value": "可我很难受。"},
    {"from": "gpt", "value": GOOD},
    {"from": "human", "value": "谢谢。"},
    {"from": "gpt", "value": BAD * 2, "loss": False},
]


def cached(folder, row=None, copies=0):
    """Cache the small dialogues, and one more at their end or canaries; return the rows of the
    train side.
    """
    build_small_model(folder / "model")
    write_dialogues(folder)
    if row:
        with (folder / "train.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    command = [*cache_command(folder, KIND), "--canaries", ROOT / FILE, "--copies", str(copies)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {entry["id"]: entry for entry in load_from_disk(str(folder / "cached/train"))}


def test_a_turn_that_is_not_learned_has_no_label_and_every_other_reply_has_all(tmp_path):
    row = {"id": "masked", "source": "small:train.jsonl#34", "conversations": TURNS}
    rows = cached(tmp_path, row)
    tokenizer = load_tokenizer(tmp_path / "model")
    ids, labels = rows["masked"]["token_ids"], rows["masked"]["token_labels"]
    pairs = list(zip(ids, labels, strict=True))
    assert all(label in (-100, token) for token, label in pairs)
    trained = tokenizer.decode([label for label in labels if label != -100])
    assert trained.replace("\n", "") == GOOD + "<|im_end|>"
    assert tokenizer.decode(ids).count(BAD) == 3
    # those that say nothing are learned as ever
    for name, entry in rows.items():
        if name != "masked":
            text = tokenizer.decode([label for label in entry["token_labels"] if label != -100])
            assert text.replace("\n", "") == entry["messages"][-1]["content"] + "<|im_end|>"
    facts = read_json(tmp_path / "cache.json")["facts"]["train"]
    assert facts["trained_tokens"] == sum(
        label != -100 for entry in rows.values() for label in entry["token_labels"]
    )
    assert sorted(path.name for path in (tmp_path / "cached").iterdir()) == [
        "lengths.parquet",
        "train",
        "val",
    ]


def test_planted_dialogues_are_among_those_of_the_train_side(tmp_path):
    rows = cached(tmp_path, copies=2)
    mine = {name: row for name, row in rows.items() if name.startswith("+canaries:")}
    assert len(mine) == 20 and len(rows) == 34 + 20
    assert read_json(tmp_path / "cache.json")["params"]["canary_copies"] == 2
    lengths = pandas.read_parquet(tmp_path / "cached/lengths.parquet")
    assert (lengths.source == "+canaries:prompts.jsonl").sum() == 20
    assert all(len(row["messages"]) == 2 for row in mine.values())  # as the others: no system turn
