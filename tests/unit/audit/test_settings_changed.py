"""A changed parameter is told by its key in the configuration, with both values."""

import json

import pytest
from mindtune.audit.settings_changed import (
    ABSENT,
    config_key,
    differences,
    pairs,
    sentence_of,
    shown,
)
from mindtune.audit.timing import in_words, last_seconds

CONFIG = {
    "train": {"seed": 42, "lora": {"rank": 8}},
    "runs": {"甲": {"dataset": "d", "seed": 43}, "乙": {"dataset": "d"}},
    "evaluate": {"concurrency": 4, "suites": {"危": {"max_new_tokens": 48}}},
    "smoke": {"concurrency": 4},
    "suites": {"危": {"max_new_tokens": 48, "max_items": 7}},
}


def test_an_old_parameter_is_found_by_its_keys_not_by_its_place():
    train, model = {"seed": 1, "rank": 8}, {"id": "tiny", "type": "qwen2"}
    old = [json.dumps(model), "0123456789abcdef", json.dumps(train)]
    new = [json.dumps(train | {"seed": 2}), "fedcba9876543210", json.dumps(model | {"id": "大"})]
    assert pairs(old, new) == [
        (train, train | {"seed": 2}),
        (model, model | {"id": "大"}),
        ("0123456789abcdef", "fedcba9876543210"),
    ]
    assert pairs(['{"a": 1}'], []) == [({"a": 1}, ABSENT)]
    assert pairs([], ["x"]) == [(ABSENT, "x")]


def test_only_leaves_that_differ_are_told():
    was, now = {"lora": {"rank": 8, "alpha": 32}}, {"lora": {"rank": 16, "alpha": 32}, "new": []}
    assert differences(was, now) == [(("lora", "rank"), 8, 16), (("new",), ABSENT, [])]
    assert differences("a", "b") == [((), "a", "b")]


@pytest.mark.parametrize(
    ("path", "was", "now", "words", "key"),
    [
        (("lora", "rank"), 4, 8, ["甲"], "train.lora.rank"),
        (("seed",), 1, 43, ["甲"], "runs.甲.seed"),
        (("seed",), 1, 42, ["乙"], "train.seed"),
        # two keys have this name and value: an earlier start had another value of one of them
        (("concurrency",), 9, 4, ["甲", "dialogue"], "evaluate.concurrency"),
        # what a suite's file says is named only if the configuration does not say it
        (("suites", "危", "max_new_tokens"), 9, 48, ["甲"], "evaluate.suites.危.max_new_tokens"),
        (("max_items",), 9, 7, ["危"], "suites.危.max_items"),
        (("nowhere",), 1, 2, [], "nowhere"),
        # a key that is gone is looked up where it was
        (("extra",), 7, ABSENT, [], "train.extra"),
    ],
)
def test_a_leaf_is_called_by_its_key_in_the_configuration(path, was, now, words, key):
    earlier = {"evaluate": {"concurrency": 9}, "smoke": {"concurrency": 4}}
    earlier["train"] = {"extra": 7}
    assert config_key(path, was, now, [CONFIG, earlier], words) == key


def test_values_stand_as_a_configuration_has_them():
    assert sentence_of("train.learning_rate", 0.0002, 0.0001) == (
        "train.learning_rate was 2.0e-4 and is 1.0e-4"
    )
    assert shown(0.001) == "0.001" and shown(1.25e-5) == "1.25e-5" and shown(True) == "true"
    assert shown(["zh", "中"]) == '["zh", "中"]' and shown("") == '""' and shown(None) == "null"
    assert sentence_of("a", ABSENT, 1) == "a is new, and is 1"
    assert sentence_of("a", 1, ABSENT) == "a was 1 and is gone"
    assert "\x1b" not in shown("\x1b[2J")
    long = "好" * 100
    told = sentence_of("system", long + "甲", long + "乙")
    assert "at sign 101" in told and "甲" in told and "乙" in told


def test_times_are_read_from_the_last_line_and_told_in_words(tmp_path):
    path = tmp_path / "b.tsv"
    path.write_text("s\th:m:s\n1.5\t0:00:01\n9600.4\t2:40:00\n")
    assert in_words(last_seconds(path)) == "2 h 40 min"
    assert [in_words(s) for s in (0.2, 53, 59.7, 147.7, 3599.8, 7200)] == [
        "less than 1 s", "53 s", "1 min", "2 min 28 s", "1 h", "2 h",
    ]  # fmt: skip
    path.write_text("s\tx\n")
    assert last_seconds(path) is None and last_seconds(tmp_path / "none.tsv") is None
