"""Settings that mean the same are the same values, and those that do not are not."""

from pathlib import Path

import pytest
import yaml
from mindtune.canonical import canonical, size
from mindtune.config import deciding_engine, merge, read_schema, resolve, serve_settings, to_param

CONFIG = Path(__file__).resolve().parents[3] / "config"
SEED = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
DEMO = merge(SEED, yaml.safe_load((CONFIG / "demo.yaml").read_text(encoding="utf-8")))
SCHEMA = read_schema()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0.05GB", "50MB"),
        ("50 mb", "50MB"),
        ("2000MB", "2GB"),
        (" 2.0gb ", "2GB"),
        ("1.5GB", "1500MB"),
        ("1500.5KB", "1500.5KB"),
        ("0GB", "0GB"),
    ],
)
def test_a_size_has_one_spelling(text, same):
    assert size(text) == same == size(same)


def test_two_spellings_of_a_configuration_are_one():
    other = {
        "datasets": {"demo": {"path": "./resources/dialogues/"}},
        "data": {"clean": {"languages": ["en", "zh"]}},
        "export": {"max_shard_size": "0.05 GB"},
        "verify": {"max_logit_difference": 1},
        "train": {"lora": {"target_modules": SEED["train"]["lora"]["target_modules"][::-1]}},
        "runs": {"seed43": {"learning_rate": 1.0e-3}},
    }
    same = merge(DEMO, {"runs": {"seed43": {"learning_rate": 0.001}}})
    # by their text: 1 == 1.0 in Python, and not in a rule's params
    assert to_param(resolve(merge(DEMO, other), SCHEMA)) == to_param(resolve(same, SCHEMA))


def test_an_order_that_says_something_stays():
    prompts = ["乙", "甲"]
    config = resolve(merge(DEMO, {"smoke": {"prompts": prompts, "levels": [4, 1]}}), SCHEMA)
    assert config["smoke"]["prompts"] == prompts and config["smoke"]["levels"] == [4, 1]


def test_a_whole_number_and_a_truth_are_no_number_with_a_point():
    assert canonical(True, {"type": "boolean"}) is True
    assert repr(canonical(3, {"type": "integer"})) == "3"
    assert repr(canonical(3, {"type": ["number", "null"]})) == "3.0"
    assert canonical(None, {"type": ["number", "null"]}) is None


def test_an_engine_is_decided_by_what_it_uses():
    on_cpu = serve_settings(resolve(DEMO, SCHEMA))
    on_gpu = serve_settings(resolve(SEED, SCHEMA))
    left_out = {"startup_timeout_s", "backend", "cache_max_entry_count", "memory_gib", "tp"}
    assert on_cpu.keys() - deciding_engine(on_cpu).keys() == left_out
    assert on_gpu.keys() - deciding_engine(on_gpu).keys() == {"startup_timeout_s", "threads"}
    assert on_cpu["device"] == "cpu" and on_gpu["device"] == "gpu"
