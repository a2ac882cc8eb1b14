"""A seed's order is ms-swift's own, and a run's cached data set is the shared one in that order."""

import json
import subprocess
import sys
from pathlib import Path

import cache_dataset
import pandas
import pytest
from datasets import Dataset, load_from_disk
from mindtune.records import read_json, sha256_path, write_record
from mindtune.train.cached import save_split, training_order

ROOT = Path(__file__).resolve().parents[3]


def shared(folder: Path, rows: int) -> Path:
    """A cached data set of so many dialogues, with its record."""
    cached = folder / "cached"
    ids = [f"对话{number}" for number in range(rows)]
    tokens = [[number, 7] for number in range(rows)]
    save_split(Dataset.from_dict({"id": ids, "token_ids": tokens}), cached / "train")
    save_split(Dataset.from_dict({"id": ["dev"], "token_ids": [[1]]}), cached / "val")
    table = {"split": ["train"] * rows + ["dev"], "id": [*ids, "dev"], "tokens": [2] * rows + [1]}
    pandas.DataFrame(table).to_parquet(cached / "lengths.parquet", index=False)
    write_record(
        folder / "cache.json", "cache_dataset", inputs=[], outputs=[cached], params={}, facts={}
    )
    return cached


def ordered(
    folder: Path, name: str, seed: int, mix: dict | None = None
) -> subprocess.CompletedProcess:
    """Run the program."""
    words = {
        "cached": folder / "cached", "made-by": folder / "cache.json",
        "settings": json.dumps({"seed": seed}), "mix": json.dumps(mix or {}),
        "ordered": folder / name, "record": folder / f"{name}.json",
    }  # fmt: skip
    command = [sys.executable, ROOT / "scripts/order_dialogues.py"]
    command += [part for name, value in words.items() for part in (f"--{name}", value)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(("rows", "seed"), [(1, 42), (57, 42), (57, 43), (1203, 0)])
def test_the_order_is_that_in_which_ms_swift_loads_a_data_set(tmp_path, rows, seed):
    from swift.dataset import load_dataset

    lines = [
        json.dumps({"messages": [{"role": "user", "content": f"第{number}"}]})
        for number in range(rows)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n")
    theirs, _ = load_dataset(
        [str(tmp_path / "train.jsonl")], seed=seed, shuffle=True, load_from_cache_file=False
    )
    found = [row["messages"][0]["content"] for row in theirs]
    assert found == [f"第{number}" for number in training_order(rows, seed)]


def test_a_runs_dialogues_are_the_shared_ones_in_the_order_of_its_seed(tmp_path):
    cached = shared(tmp_path, 50)
    for name, seed in (("a", 42), ("again", 42), ("b", 43)):
        done = ordered(tmp_path, name, seed)
        assert done.returncode == 0, done.stderr
        ids = [f"对话{number}" for number in training_order(50, seed)]
        rows = load_from_disk(str(tmp_path / name / "train"))
        assert rows["id"] == ids and rows["token_ids"][0] == [training_order(50, seed)[0], 7]
        lengths = pandas.read_parquet(tmp_path / name / "lengths.parquet")
        assert lengths["id"].tolist() == [*ids, "dev"]
        assert sha256_path(tmp_path / name / "val") == sha256_path(cached / "val")
    assert sha256_path(tmp_path / "a") == sha256_path(tmp_path / "again")
    assert sha256_path(tmp_path / "a/train") != sha256_path(tmp_path / "b/train")
    assert read_json(tmp_path / "a.json")["inputs"] == {str(cached): sha256_path(cached)}


def test_a_changed_cache_is_not_ordered(tmp_path):
    cached = shared(tmp_path, 3)
    (cached / "lengths.parquet").write_bytes(b"x")
    done = ordered(tmp_path, "a", 42)
    assert done.returncode == 2 and "has SHA-256" in done.stderr
    assert not (tmp_path / "a").exists()


def test_nothing_is_pickled_to_name_a_cache_that_is_thrown_away(monkeypatch):
    from datasets import arrow_dataset, fingerprint

    class Tokenizer:
        def __call__(self, row):
            return {"length": len(row["text"])}

        def __reduce__(self):
            raise AssertionError("the tokenizer was pickled")

    for module in (arrow_dataset, fingerprint):
        monkeypatch.setattr(module, "update_fingerprint", module.update_fingerprint)
    cache_dataset.number_cache_files()
    rows = Dataset.from_dict({"text": ["一", "二三"]})
    asked = []
    monkeypatch.setattr(fingerprint.Hasher, "update", lambda self, value: asked.append(value))
    lengths = rows.map(Tokenizer()).select_columns("length")
    assert lengths["length"][:] == [1, 2] and not asked
    assert rows._fingerprint != lengths._fingerprint
