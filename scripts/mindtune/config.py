"""The configuration: defaults, checks and per-run settings, all at parse time and all from config/schema.yaml.

A configuration that passes here is complete: every leaf has a value, and no two of them contradict each other.
"""

import copy
import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mindtune.cli import UserError

# Flags of ms-swift recipes, as people paste them, and where the same setting lives here
OLD_NAMES = {
    "train_type": "train.method",
    "tuner_type": "train.method",
    "lora_rank": "train.lora.rank",
    "lora_alpha": "train.lora.alpha",
    "lora_dropout": "train.lora.dropout",
    "lora_dropout_p": "train.lora.dropout",
    "lora_target_modules": "train.lora.target_modules",
    "target_modules": "train.lora.target_modules",
    "per_device_train_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.grad_accumulation",
    "num_train_epochs": "train.epochs",
    "lr": "train.learning_rate",
    "attn_impl": "train.attention",
    "bf16": "train.dtype",
    "torch_dtype": "train.dtype",
    "model_type": "model.type",
    "served_model_name": "serve.model_name",
    "cache-max-entry-count": "serve.cache_max_entry_count",
    "session-len": "serve.session_len",
    "max-shard-size": "export.max_shard_size",
    "report_to": "nothing: SwanLab always records offline",
}
# Keys of earlier versions, and what is asked for today
RETIRED = {
    "min_argmax_agreement": "verify.max_swapped_margin asks that the same token is chosen wherever its margin is larger, in deviations",
}
NO_LICENCE = ("", "unknown", "none", "not stated", "unlicensed", "n/a", "?")
FLASH_ATTENTION = ("flash_attention_4", "flash_attn")


def resolve(config: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the schema's defaults filled in; raise UserError for the first thing wrong with it."""
    resolved = with_defaults(copy.deepcopy(dict(config)), schema)
    check_schema(resolved, schema)
    for check in CROSS_CHECKS:
        check(resolved)
    return resolved


def with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """Fill in the defaults of a mapping and of the mappings below it."""
    if not isinstance(value, dict):
        return value
    for name, part in schema.get("properties", {}).items():
        if name not in value and "default" in part:
            value[name] = copy.deepcopy(part["default"])
        elif name not in value and part.get("type") == "object" and with_defaults({}, part):
            value[name] = {}
        if name in value:
            value[name] = with_defaults(value[name], part)
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict):
        for name in value.keys() - schema.get("properties", {}).keys():
            value[name] = with_defaults(value[name], rest)
    return value


def check_schema(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise UserError with one sentence for the first violation, in the order of the keys."""
    from jsonschema import Draft202012Validator

    errors = sorted(
        Draft202012Validator(schema).iter_errors(config), key=lambda error: [str(part) for part in error.absolute_path]
    )
    if errors:
        raise UserError(sentence(errors[0]))


def sentence(error: Any) -> str:
    """One sentence for a jsonschema error: the key, what was found, what was expected, what to do."""
    key = ".".join(str(part) for part in error.absolute_path)
    where = f"config key {key}" if key else "the configuration"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        unknown = sorted(str(name) for name in error.instance if name not in known)[0]
        return unknown_key(f"{key}.{unknown}" if key else unknown, unknown, list(known))
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{where} lacks {missing}; add {key + '.' if key else ''}{missing} (config/README.md describes it)"
    if error.validator == "type" and isinstance(error.instance, str) and error.validator_value in ("number", "integer"):
        return (
            f"{where} is the text {error.instance!r} and should be a {error.validator_value}; "
            "YAML reads 2e-4 as text, so write 2.0e-4, without quotes"
        )
    advice = error.schema.get("description", "").rstrip(".")
    expected = {
        "type": f"a value of type {error.validator_value}",
        "enum": f"one of {error.validator_value}",
        "minimum": f"at least {error.validator_value}",
        "maximum": f"at most {error.validator_value}",
        "exclusiveMinimum": f"more than {error.validator_value}",
        "exclusiveMaximum": f"less than {error.validator_value}",
        "pattern": f"text that matches {error.validator_value}",
    }.get(error.validator, f"what config/schema.yaml says ({error.message})")
    return f"{where} is {error.instance!r} and should be {expected}; change it ({advice})"


def unknown_key(path: str, name: str, known: list[str]) -> str:
    """One sentence for a key that does not exist: its place today if it is an old flag, else the nearest known key."""
    flag = name.lstrip("-")
    if flag in OLD_NAMES:
        return f"config key {path} is the name of a flag of older recipes; the setting is {OLD_NAMES[flag]} here, so write that"
    if name in RETIRED:
        return f"config key {path} was of an earlier version; {RETIRED[name]}, so remove it"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return (
        f"config key {path} is unknown; the nearest known key is {near[0] if near else 'none'}, so correct or remove it"
    )


def run_settings(config: Mapping[str, Any], run: str) -> dict[str, Any]:
    """The training settings of one run: `train`, with the run's own keys laid over it."""
    own = {key: value for key, value in config["runs"][run].items() if key != "dataset"}
    return merge(config["train"], own)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if both else copy.deepcopy(value)
    return result


def leaves(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (path, value) of every leaf of a nested mapping; a list is a leaf."""
    if isinstance(config, Mapping) and config:
        for key in sorted(config):
            yield from leaves(config[key], (*path, str(key)))
    else:
        yield path, config


def check_names(config: Mapping[str, Any]) -> None:
    """Runs name datasets that exist, and the exported run exists."""
    for run, settings in config["runs"].items():
        if settings["dataset"] not in config["datasets"]:
            raise UserError(
                f"config key runs.{run}.dataset is {settings['dataset']!r}, which is not among datasets "
                f"({', '.join(sorted(config['datasets']))}); name one of them or add it"
            )
    if config["export"]["run"] not in config["runs"]:
        raise UserError(
            f"config key export.run is {config['export']['run']!r}, which is not among runs "
            f"({', '.join(sorted(config['runs']))}); name one of them"
        )


def is_licence(licence: str | None) -> bool:
    """False for a word that says that there is none, or that nobody knows it."""
    return bool(licence) and licence.strip().lower() not in NO_LICENCE


def check_licences(config: Mapping[str, Any]) -> None:
    """Every dataset that a run trains on has a licence, or is accepted by name."""
    accepted = config["data"]["accept_unlicensed"]
    if strangers := sorted(set(accepted) - set(config["datasets"])):
        raise UserError(
            f"config key data.accept_unlicensed names {strangers[0]!r}, which is not among datasets "
            f"({', '.join(sorted(config['datasets']))}); correct or remove it"
        )
    for name in sorted({run["dataset"] for run in config["runs"].values()}):
        licence = config["datasets"][name]["licence"]
        if not is_licence(licence) and name not in accepted:
            raise UserError(
                f"config key datasets.{name}.licence is {licence!r}: data without a licence are not trained on unasked; set their "
                f"licence, or accept them by name with data.accept_unlicensed: [{name}]"
            )


def check_sources(config: Mapping[str, Any]) -> None:
    """A local source has a path, a hub source an id and a revision."""
    parts = {f"datasets.{name}": spec for name, spec in config["datasets"].items()} | {"model": config["model"]}
    for key, spec in parts.items():
        needed = (
            ("path",) if spec["source"] == "local" else ("id", "revision") if spec["source"] != "package" else ("id",)
        )
        for name in needed:
            if spec.get(name) in (None, ""):
                raise UserError(
                    f"config key {key}.{name} is empty, but {key}.source is {spec['source']}, which needs it; set it"
                )


def check_training(config: Mapping[str, Any]) -> None:
    """Every run can train as it says: packing isolates samples only with FlashAttention, which exists only on a GPU."""
    for run in config["runs"]:
        train = run_settings(config, run)
        flash = train["attention"] in FLASH_ATTENTION
        if train["device"] == "gpu" and train["packing"] and not flash:
            raise UserError(
                f"run {run} packs on a GPU with train.attention {train['attention']!r}, which would let packed dialogues see each "
                f"other; set train.attention to one of {', '.join(FLASH_ATTENTION)}, or train.packing to false"
            )
        if train["device"] == "cpu" and flash:
            raise UserError(
                f"run {run} asks for train.attention {train['attention']!r} on a CPU, where FlashAttention does not exist; "
                "set train.attention to sdpa, or train.device to gpu"
            )
        if train["max_length"] != config["train"]["max_length"]:
            raise UserError(
                f"runs.{run}.max_length is {train['max_length']}, but dialogues are cleaned once, for train.max_length "
                f"{config['train']['max_length']}; remove it from the run, or set train.max_length"
            )


def check_serving(config: Mapping[str, Any]) -> None:
    """The engine suits the device, and a reply fits into a session."""
    serve, train = config["serve"], config["train"]
    if serve["engine"] == "lmdeploy" and train["device"] == "cpu":
        raise UserError(
            "serve.engine is lmdeploy, which needs a GPU, but train.device is cpu; set serve.engine to transformers, or train.device to gpu"
        )
    longest = config["evaluate"]["dialogue"]["max_new_tokens"]
    if longest >= serve["session_len"]:
        raise UserError(
            f"evaluate.dialogue.max_new_tokens is {longest}, which leaves no room for a prompt within serve.session_len "
            f"{serve['session_len']}; lower the first or raise the second"
        )


def check_shares(config: Mapping[str, Any]) -> None:
    """Dev and test leave something to train on."""
    split = config["data"]["split"]
    if split["dev_share"] + split["test_share"] >= 1:
        raise UserError(
            f"data.split.dev_share {split['dev_share']} and test_share {split['test_share']} leave nothing to train on; lower them"
        )


CROSS_CHECKS: list[Callable[[Mapping[str, Any]], None]] = [
    check_names,
    check_licences,
    check_sources,
    check_training,
    check_serving,
    check_shares,
]
