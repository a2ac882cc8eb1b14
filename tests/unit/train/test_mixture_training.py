"""A run on a mixture trains for real, and its record has the tokens of each data set that were
given.
"""

import json
import subprocess

import pandas
import pytest
from mindtune.records import read_json, write_record
from training import (
    FIRST,
    KIND,
    REPLY,
    Training,
    build_small_model,
    cache_command,
    environment,
    program,
)


def write_mixed(folder):
    """Training dialogues of two sets, b's twice as long, and dev dialogues of both."""
    for side, count in (("train", 12), ("dev", 2)):
        rows = [
            {
                "id": f"{name}:{side}{number}",
                "source": f"{name}:{side}.jsonl#{number}",
                "conversations": [
                    {"from": "human", "value": FIRST * (1 + number % 3)},
                    {"from": "gpt", "value": REPLY * times},
                ],
            }
            for name, times in (("a", 1), ("b", 2))
            for number in range(count)
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{side}.jsonl").write_text(text, encoding="utf-8")


def run(command):
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """A run's ordered data set with equal shares, in the place where `Training` looks."""
    folder = tmp_path_factory.mktemp("mixture")
    mixed, ready = folder / "a+b", folder / "run"
    mixed.mkdir()
    build_small_model(mixed / "model")
    write_mixed(mixed)
    run(cache_command(mixed, KIND))
    mix = {"weights": {"a": 1, "b": 1}, "epochs": {"a": 1.5}}
    run(program(
        "order_dialogues.py", "--cached", mixed / "cached", "--made-by", mixed / "cache.json",
        "--settings", json.dumps({"seed": 42}), "--mix", json.dumps(mix),
        "--ordered", ready / "cached", "--record", ready / "cache.json",
    ))  # fmt: skip
    (mixed / "model").rename(ready / "model")
    write_record(ready / "model.json", "fetch_model", inputs=[], outputs=[ready / "model"],
                 params={}, facts={})  # fmt: skip
    return ready


@pytest.mark.parametrize("packing", [True, False])
def test_the_tokens_that_were_given_are_those_that_were_planned(mixture, tmp_path, packing):
    training = Training(mixture, tmp_path, packing=packing, epochs=1, save_steps=100)
    training.finish()
    planned, facts = training.planned, read_json(tmp_path / "record.json")["facts"]
    lengths = pandas.read_parquet(mixture / "cached/lengths.parquet")
    rows = lengths[lengths.split == "train"]
    tokens = rows.tokens.groupby(rows.id.str[0]).sum().to_dict()
    assert {name: found["tokens"] for name, found in facts["by_dataset"].items()} == tokens
    assert {name: found["tokens"] for name, found in planned["by_dataset"].items()} == tokens
    assert sum(tokens.values()) == facts["tokens"]
    # the plan in trained tokens: a comes one and a half times, b as far as that goes
    order = read_json(mixture / "cache.json")["facts"]["mixture"]
    assert order["a"]["repeated"] == 6 and order["b"]["taken"] < 12
    assert abs(order["a"]["trained_share"] - 0.5) < 0.06
