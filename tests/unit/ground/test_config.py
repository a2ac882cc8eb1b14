"""Every configuration file of the project passes, and everything wrong with one stops with one
sentence.
"""

import copy
from pathlib import Path

import pytest
import yaml
from mindtune.cli import UserError
from mindtune.config import leaves, merge, read_schema, resolve, run_settings

CONFIG = Path(__file__).resolve().parents[3] / "config"
SCHEMA = read_schema()
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
    config = (
        merge(SEED, yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))) if name else SEED
    )
    resolved = resolve(config, SCHEMA)
    assert resolved["train"]["lora"]["rank"] == 8
    assert resolved["evaluate"]["score"]["fixed_line"]["zh"]
    assert dict(leaves(resolved)).keys() > dict(leaves(config)).keys()


def test_seed_values():
    train = run_settings(resolve(SEED, SCHEMA), "main")
    assert (train["max_length"], train["batch_size"], train["grad_accumulation"]) == (3072, 8, 4)
    assert (train["lora"]["rank"], train["lora"]["alpha"], train["lora"]["dropout"]) == (8, 32, 0.1)
    assert (train["learning_rate"], train["warmup_ratio"], train["epochs"]) == (2.0e-4, 0.1, 1)
    assert (train["save_steps"], train["save_total_limit"], train["logging_steps"]) == (200, 3, 20)
    assert train["lora"]["target_modules"] == sorted(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("train.lerning_rate", 1.0e-4, ["train.lerning_rate", "learning_rate"]),
        ("trian", {}, ["trian", "train"]),
        (
            "data.accept_unlicensed",
            [],
            ["datasets.mh.licence", "'unknown'", "accept_unlicensed: [mh]"],
        ),
        ("data.accept_unlicensed", ["mh", "mhh"], ["'mhh'", "not among datasets"]),
        ("export.accept_unpinned", ["model"], ["datasets.mh.revision", "'master'", "[mh]"]),
        ("export.accept_unpinned", ["mh"], ["model.revision", "a commit's hash", "[model]"]),
        ("export.accept_unpinned", ["mh", "base"], ["'base'", "neither model nor"]),
        ("smoke.near_tie", 0.25, ["of an earlier version", "verify.max_swapped_margin"]),
        ("serve.model_name", "a b", ["serve.model_name", "'a b'"]),
        ("train.learning_rate", "2e-4", ["'2e-4'", "2.0e-4"]),
        ("train.train_type", "lora", ["older recipes", "train.method"]),
        (
            "verify.min_argmax_agreement",
            0.98,
            ["of an earlier version", "verify.max_swapped_margin"],
        ),
        ("train.per_device_train_batch_size", 8, ["train.batch_size"]),
        ("train.lora_rank", 8, ["train.lora.rank"]),
        ("train.lora.target_modules", "q_proj,k_proj", ["train.lora.target_modules", "array"]),
        ("train.epochs", 1.0, ["train.epochs is 1.0", "an integer", "write 1"]),
        ("train.lora.alpha", 32.0, ["train.lora.alpha is 32.0", "write 32"]),
        ("train.epochs", "3", ["train.epochs is the text '3'", "an integer", "without quotes"]),
        ("train.learning_rate", float("nan"), ["train.learning_rate is nan", "a finite number"]),
        ("train.learning_rate", float("inf"), ["train.learning_rate is inf"]),
        ("train.learning_rate", 50, ["train.learning_rate is 50", "at most 0.1"]),
        ("train.seed", 2**32, ["train.seed", "at most 4294967295"]),
        (
            "train.lora.target_modules",
            ["q_proj", "k_prj"],
            ["'k_prj'", "the nearest name is k_proj"],
        ),
        ("train.lora.target_modules", ["all_linear"], ["'all_linear'", "all seven"]),
        ("runs.main.lora", {"target_modules": ["W_pack"]}, ["run main", "'W_pack'", "qwen2"]),
        ("model.type", "qwen22", ["model.type", "'qwen22'", "nearest", "qwen2"]),
        ("model.template", "qwen2.5", ["model.template", "qwen2_5"]),
        ("runs.-h", {"dataset": "mh"}, ["'-h'", "not first"]),
        ("runs.张三", {"dataset": "mh"}, ["'张三'", "letters A-Z"]),
        (
            "datasets.--help",
            {"source": "local", "path": "x", "licence": "MIT"},
            ["datasets", "'--help'"],
        ),
        ("runs." + "x" * 65, {"dataset": "mh"}, ["64"]),
        ("evaluate.system", "你" * 30_000, ["evaluate.system", "at most 60,000"]),
        (
            "data.clean.role_map",
            {f"角色{n}": "human" for n in range(3000)},
            ["data.clean", "at most 60,000"],
        ),
        ("train.packing", "yes", ["train.packing", "true or false"]),
        ("serve.model_name", 7, ["serve.model_name is 7", "quotes"]),
        ("train", None, ["train is None", "a mapping"]),
        ("train.batch_size", 0, ["train.batch_size", "at least 1"]),
        ("train.batch_size", True, ["train.batch_size", "integer"]),
        ("serve.cache_max_entry_count", 0, ["serve.cache_max_entry_count", "more than 0"]),
        ("serve.memory_gib", 0, ["serve.memory_gib", "more than 0"]),
        ("serve.cache-max-entry-count", 0.8, ["serve.cache_max_entry_count"]),
        ("export.max_shard_size", "2GiB", ["export.max_shard_size", "'2GiB'"]),
        ("export.require_gates", True, ["export.require_gates is true", "no gate is configured"]),
        ("export.run", "mian", ["export.run", "'mian'", "main"]),
        ("runs.main.dataset", "心理", ["runs.main.dataset", "'心理'"]),
        ("runs.main.max_length", 1024, ["runs.main.max_length", "once, for train.max_length"]),
        ("runs.main.device", "cpu", ["runs.main.device", "at the top of the file"]),
        ("serve.device", "cpu", ["serve.device", "at the top of the file"]),
        ("runs.main.sed", 1, ["runs.main.sed", "seed"]),
        ("datasets.mh.licence", "", ["datasets.mh.licence"]),
        ("datasets.mh.id", None, ["datasets.mh.id", "modelscope"]),
        ("datasets.mh.fields", {"question": "ask"}, ["datasets.mh.fields", "question and answer"]),
        ("train.attention", "sdpa", ["train.attention", "packing"]),
        ("evaluate.dialogue.system", "x", ["of an earlier version", "it is evaluate.system now"]),
        ("train.device", "cpu", ["train.device", "at the top of the file"]),
        ("device", "cpu", ["train.attention", "CPU"]),
        ("data.split.test_share", 0.99, ["data.split", "nothing to train on"]),
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


@pytest.mark.parametrize("pin", [{"revision": "a" * 40}, {"sha256": "0" * 64}])
def test_a_pinned_source_may_be_exported(pin):
    config = edited(SEED, "export.accept_unpinned", ["model"])
    config["datasets"]["mh"] |= pin
    resolve(config, SCHEMA)


def test_an_architecture_with_other_layers_may_name_them():
    config = edited(
        edited(DEMO, "model.type", "baichuan2"), "train.lora.target_modules", ["W_pack", "o_proj"]
    )
    assert resolve(config, SCHEMA)["train"]["lora"]["target_modules"] == ["W_pack", "o_proj"]


def test_every_number_has_a_largest_value():
    def unbounded(schema, path=""):
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else types
        if {"integer", "number"} & set(types) and not {
            "maximum",
            "exclusiveMaximum",
        } & schema.keys():
            yield path
        for name, part in schema.get("properties", {}).items():
            yield from unbounded(part, f"{path}.{name}")
        for name in ("additionalProperties", "items"):
            if isinstance(schema.get(name), dict):
                yield from unbounded(schema[name], f"{path}.*")

    assert list(unbounded(SCHEMA)) == []
