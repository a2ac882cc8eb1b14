"""One sentence for what a configuration breaks in config/schema.yaml: the key, what was found,
what was expected, what to do.
"""

import difflib
import re
from collections.abc import Collection, Iterable
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
# Keys of earlier versions, by name or by path, and what is asked for today
RETIRED = {
    "min_argmax_agreement": "verify.max_swapped_margin asks that the same token is chosen wherever "
    "its margin is larger",
    "device": "one key says it for training and serving, at the top of the file: device: gpu or "
    "cpu",
    "max_length": "dialogues are cleaned and tokenised once, for train.max_length",
    "evaluate.dialogue.max_new_tokens": "it is evaluate.suites.dialogue.max_new_tokens now",
    "evaluate.dialogue.system": "it is evaluate.system now, for all suites",
    "evaluate.dialogue.concurrency": "it is evaluate.concurrency now, for all suites",
    "evaluate.score.resamples": "intervals are computed, and nothing is drawn",
    "near_tie": "the smoke test takes verify.max_swapped_margin, the bound of the proof",
}
NAMES = "letters A-Z and a-z, digits, _ and - (not first), at most 64 characters"


def sentence(error: Any) -> str:
    """One sentence for a jsonschema error."""
    key = ".".join(str(part) for part in error.absolute_path)
    where = f"config key {key}" if key else "the configuration"
    if "propertyNames" in error.absolute_schema_path:
        return (
            f"{where} has the name {error.instance!r}, which names a folder and must consist "
            f"of "
            f"{NAMES}; rename it"
        )
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        unknown = sorted(str(name) for name in error.instance if name not in known)[0]
        return unknown_key(f"{key}.{unknown}" if key else unknown, unknown, list(known))
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return (
            f"{where} lacks {missing}; add {key + '.' if key else ''}{missing} "
            f"(config/README.md describes it)"
        )
    if error.validator == "type":
        return f"{where} {wrong_type(error.instance, error.validator_value)}"
    advice = error.schema.get("description", "").rstrip(".")
    expected = {
        "enum": f"one of {error.validator_value}",
        "minimum": f"at least {error.validator_value}",
        "maximum": f"at most {error.validator_value}",
        "exclusiveMinimum": f"more than {error.validator_value}",
        "exclusiveMaximum": f"less than {error.validator_value}",
        "pattern": f"text that matches {error.validator_value}",
    }.get(error.validator, f"what config/schema.yaml says ({error.message})")
    return f"{where} is {shown(error.instance)} and should be {expected}; change it ({advice})"


def wrong_type(value: Any, types: str | list[str]) -> str:
    """What a value of another type is, what it should be, and how to write it."""
    wanted = [types] if isinstance(types, str) else types
    words = {
        "integer": "an integer",
        "number": "a finite number",
        "string": "text",
        "boolean": "true or false",
        "array": "a list (an array, as in [a, b])",
        "object": "a mapping ({key: value})",
        "null": "null",
    }
    expected = " or ".join(words[name] for name in wanted)
    if isinstance(value, str):
        return (
            f"is the text {shown(value)} and should be {expected}; {advice_for_text(value, wanted)}"
        )
    if isinstance(value, float) and "integer" in wanted and value.is_integer():
        return f"is {value} and should be {expected}; write {int(value)}"
    if isinstance(value, bool | int | float) and "string" in wanted:
        return f"is {value!r} and should be {expected}; put it in quotes"
    return f"is {shown(value)} and should be {expected}; change it"


def advice_for_text(text: str, wanted: list[str]) -> str:
    """How to write what a text seems to mean."""
    if {"integer", "number"} & set(wanted):
        if re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", text):
            mantissa, exponent = re.split("[eE]", text)
            return (
                f"YAML reads a number with an exponent as text unless it has a dot, so write "
                f"{mantissa}.0e{exponent}, without quotes"
            )
        return "write a number, without quotes"
    return "write true or false, without quotes" if "boolean" in wanted else "change it"


def shown(value: Any) -> str:
    """A value as it stands in a sentence, cut if it is long, without a password or a query in an
    address.
    """
    text = re.sub(r"(://)[^/@\s]*@", r"\1***@", repr(value))
    text = re.sub(r"(://[^\s?#]*)[?#][^\s']*", r"\1?***", text)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def unknown_key(path: str, name: str, known: list[str]) -> str:
    """One sentence for a key that does not exist: its place today if it is an old flag, else the
    nearest known key.
    """
    flag = name.lstrip("-")
    if flag in OLD_NAMES:
        return (
            f"config key {path} is the name of a flag of older recipes; the setting is "
            f"{OLD_NAMES[flag]} here, so write that"
        )
    if why := RETIRED.get(path, RETIRED.get(name)):
        return f"config key {path} was of an earlier version; {why}, so remove it"
    return (
        f"config key {path} is unknown; the nearest known key is {nearest(name, known)}, so "
        f"correct or remove it"
    )


def check_known(said: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise UserError for the first key that is not among the known ones."""
    for key in said:
        if key not in known:
            raise UserError(
                f"{where}: the key {key!r} is unknown; the nearest is {nearest(key, known)}"
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a name."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0)
    return near[0] if near else "none"
