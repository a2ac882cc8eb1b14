"""Every configuration file of the project passes, and everything wrong with one stops with one sentence."""

import copy
from pathlib import Path

import pytest
import yaml
from mindtune.cli import UserError
from mindtune.config import leaves, merge, resolve, run_settings

CONFIG = Path(__file__).resolve().parents[3] / "config"
SCHEMA = yaml.safe_load((CONFIG / "schema.yaml").read_text(encoding="utf-8"))
SEED = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
DEMO = merge(SEED, yaml.safe_load((CONFIG / "demo.yaml").read_text(encoding="utf-8")))


def edited(base, path, value):
    """A copy of a configuration with one key set."""
    config = copy.deepcopy(base)
    *parents, last = path.split(".")
    part = config
    for name in parents:
        part = part.setdefault(name, {})
    part[last] = value
    return config


@pytest.mark.parametrize("name", ["demo.yaml", "demo-smollm2.yaml", None])
def test_shipped_configurations_are_complete(name):
    config = merge(SEED, yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))) if name else SEED
    resolved = resolve(config, SCHEMA)
    assert resolved["train"]["lora"]["rank"] == 8
    assert resolved["evaluate"]["score"]["resamples"] >= 100
    assert dict(leaves(resolved)).keys() > dict(leaves(config)).keys()


def test_seed_values():
    train = run_settings(resolve(SEED, SCHEMA), "main")
    assert (train["max_length"], train["batch_size"], train["grad_accumulation"]) == (3072, 8, 4)
    assert (train["lora"]["rank"], train["lora"]["alpha"], train["lora"]["dropout"]) == (8, 32, 0.1)
    assert (train["learning_rate"], train["warmup_ratio"], train["epochs"]) == (2.0e-4, 0.1, 1)
    assert (train["save_steps"], train["save_total_limit"], train["logging_steps"]) == (200, 3, 20)
    assert train["lora"]["target_modules"] == [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("train.lerning_rate", 1.0e-4, ["train.lerning_rate", "learning_rate"]),
        ("trian", {}, ["trian", "train"]),
        ("data.accept_unlicensed", [], ["datasets.mh.licence", "'unknown'", "accept_unlicensed: [mh]"]),
        ("data.accept_unlicensed", ["mh", "mhh"], ["'mhh'", "not among datasets"]),
        ("train.learning_rate", "2e-4", ["'2e-4'", "2.0e-4"]),
        ("train.train_type", "lora", ["older recipes", "train.method"]),
        ("verify.min_argmax_agreement", 0.98, ["of an earlier version", "verify.max_swapped_margin"]),
        ("train.per_device_train_batch_size", 8, ["train.batch_size"]),
        ("train.lora_rank", 8, ["train.lora.rank"]),
        ("train.lora.target_modules", "q_proj,k_proj", ["train.lora.target_modules", "array"]),
        ("train.batch_size", 0, ["train.batch_size", "at least 1"]),
        ("train.batch_size", True, ["train.batch_size", "integer"]),
        ("serve.cache_max_entry_count", 0, ["serve.cache_max_entry_count", "more than 0"]),
        ("serve.cache-max-entry-count", 0.8, ["serve.cache_max_entry_count"]),
        ("export.max_shard_size", "2GiB", ["export.max_shard_size", "'2GiB'"]),
        ("export.run", "mian", ["export.run", "'mian'", "main"]),
        ("runs.main.dataset", "心理", ["runs.main.dataset", "'心理'"]),
        ("runs.main.max_length", 1024, ["runs.main.max_length", "train.max_length"]),
        ("runs.main.sed", 1, ["runs.main.sed", "seed"]),
        ("datasets.mh.licence", "", ["datasets.mh.licence"]),
        ("datasets.mh.id", None, ["datasets.mh.id", "modelscope"]),
        ("train.attention", "sdpa", ["train.attention", "packing"]),
        ("train.device", "cpu", ["train.attention", "CPU"]),
        ("data.split.test_share", 0.99, ["data.split", "nothing to train on"]),
        ("evaluate.dialogue.max_new_tokens", 4096, ["evaluate.dialogue.max_new_tokens", "serve.session_len"]),
    ],
)
def test_one_sentence(path, value, words):
    with pytest.raises(UserError) as caught:
        resolve(edited(SEED, path, value), SCHEMA)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_engine_on_cpu_is_named():
    with pytest.raises(UserError, match="lmdeploy.*GPU"):
        resolve(edited(DEMO, "serve.engine", "lmdeploy"), SCHEMA)


def test_missing_section_is_named():
    with pytest.raises(UserError, match="lacks runs"):
        resolve({key: value for key, value in SEED.items() if key != "runs"}, SCHEMA)


def test_run_overrides_only_itself():
    config = resolve(edited(DEMO, "runs.rank16", {"dataset": "demo", "lora": {"rank": 16}}), SCHEMA)
    assert run_settings(config, "rank16")["lora"] == {**run_settings(config, "main")["lora"], "rank": 16}
    assert run_settings(config, "main")["lora"]["rank"] == 8


def test_every_leaf_is_described():
    def undescribed(schema, path=""):
        for name, part in schema.get("properties", {}).items():
            if "description" not in part:
                yield f"{path}.{name}"
            yield from undescribed(part, f"{path}.{name}")
        if isinstance(schema.get("additionalProperties"), dict):
            yield from undescribed(schema["additionalProperties"], f"{path}.*")

    assert list(undescribed(SCHEMA)) == []


def test_no_mapping_takes_unknown_keys():
    def open_mappings(schema, path=""):
        if schema.get("type") == "object" and schema.get("additionalProperties", True) is True:
            yield path
        for name, part in schema.get("properties", {}).items():
            yield from open_mappings(part, f"{path}.{name}")
        if isinstance(schema.get("additionalProperties"), dict):
            yield from open_mappings(schema["additionalProperties"], f"{path}.*")

    assert list(open_mappings(SCHEMA)) == []


def test_a_dataset_that_no_run_uses_needs_no_licence():
    resolve(edited(SEED, "datasets.other", {"source": "local", "path": "x", "licence": "none"}), SCHEMA)
