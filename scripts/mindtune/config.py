"""The configuration: defaults, checks and per-run settings, all at parse time and all from
config/schema.yaml.

A configuration that passes here is complete: every leaf has a value, and no two of them contradict
each other.
"""

import copy
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mindtune.canonical import canonical
from mindtune.cli import UserError
from mindtune.config_errors import sentence
from mindtune.environments import ROOT
from mindtune.matrix import axes_schema, expand
from mindtune.mixture import folder_of
from mindtune.strict_yaml import parse_strictly, read_strictly

# A run cannot have these for itself: dialogues are cleaned and tokenised once
OF_ALL_RUNS = ("max_length",)
# What a run says beside its training settings
DATA_OF_A_RUN = ("dataset", "mix")
# What an engine does not use, or uses without an effect on its replies
NOT_OF_ENGINE = {
    "lmdeploy": ("startup_timeout_s", "threads"),
    "transformers": ("startup_timeout_s", "backend", "cache_max_entry_count", "memory_gib", "tp"),
}


def read_schema() -> dict[str, Any]:
    """config/schema.yaml, by PyYAML's C part: it is ours, and every job reads it. A run's keys are
    those of `train`, without defaults, and an axis of `matrix` is a list of values of such a key.
    """
    text = (ROOT / "config/schema.yaml").read_text(encoding="utf-8")
    schema = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    train = without_defaults(schema["properties"]["train"])["properties"]
    own = {key: part for key, part in train.items() if key not in OF_ALL_RUNS}
    run = schema["properties"]["runs"]["additionalProperties"]["properties"]
    run |= own
    schema["properties"]["matrix"]["properties"] = axes_schema(run)
    return schema


def without_defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a schema in which no key has a default."""
    parts = {name: without_defaults(part) for name, part in schema.get("properties", {}).items()}
    own = {key: value for key, value in schema.items() if key not in ("default", "properties")}
    return own | ({"properties": parts} if parts else {})


def read_files(files: Iterable[Path], arguments: Iterable[str] = ()) -> dict[str, Any]:
    """Files laid over each other in their order, and over them `key=value` arguments, as
    Snakemake's --config has them.

    Snakemake reads the same files, but takes the last of two equal keys, and reads numbers within
    an argument as text.
    """
    parts = [(str(file), read_strictly(Path(file))) for file in files]
    for argument in arguments:
        key, _, value = argument.partition("=")
        parts.append(
            (f"--config {key}", {key: parse_strictly(value, f"--config {key}") if value else None})
        )
    config: dict[str, Any] = {}
    for name, part in parts:
        if not isinstance(part or {}, dict):
            raise UserError(f"{name} is no mapping of keys to values; write `key: value` lines")
        config = merge(config, part or {})
    return config


def resolve(config: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the schema's defaults filled in; raise UserError for the first
    thing wrong with it.
    """
    from mindtune.config_checks import CROSS_CHECKS

    written = copy.deepcopy(dict(config))
    check_schema({"matrix": written.get("matrix")}, {"properties": schema["properties"]})
    resolved = with_defaults(without_removed(expand(written), schema), schema)
    check_schema(resolved, schema)
    resolved = canonical(resolved, schema)
    for check in CROSS_CHECKS:
        check(resolved)
    return resolved


def without_removed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Leave out the runs, datasets and other entries with free names that an overlay sets to
    null.
    """
    if not isinstance(value, dict):
        return value
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    return {
        name: without_removed(part, known.get(name, rest if isinstance(rest, dict) else {}))
        for name, part in value.items()
        if part is not None or name in known or not isinstance(rest, dict)
    }


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
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer).redefine(
        "number", is_number
    )
    errors = sorted(
        extend(Draft202012Validator, type_checker=types)(schema).iter_errors(config),
        key=lambda error: [str(part) for part in error.absolute_path],
    )
    if errors:
        raise UserError(sentence(errors[0]))


def is_integer(_checker: Any, value: Any) -> bool:
    """Not 1.0, which JSON Schema would take: programs pass it on as it stands, and ms-swift
    refuses it in the GPU job.
    """
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(_checker: Any, value: Any) -> bool:
    """Not NaN, which lies within all bounds, and not infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def run_settings(config: Mapping[str, Any], run: str) -> dict[str, Any]:
    """The training settings of one run: `train` and the device, with the run's own keys laid over
    it.
    """
    own = {key: value for key, value in config["runs"][run].items() if key not in DATA_OF_A_RUN}
    return merge(config["train"], own) | {"device": config["device"]}


def exported_by_name(config: Mapping[str, Any]) -> str | None:
    """The run that export.run names; None where a figure decides once all runs are trained."""
    run = config["export"]["run"]
    return run if isinstance(run, str) else None


def exported_dataset(config: Mapping[str, Any]) -> str:
    """The folder in results/data of the exported run; where a figure decides, all runs have the
    same one.
    """
    return folder_of(config["runs"][exported_by_name(config) or min(config["runs"])])


def serve_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the server: `serve`, and the device."""
    return {**config["serve"], "device": config["device"]}


def deciding_engine(engine: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the server's settings on which its replies depend."""
    unused = NOT_OF_ENGINE[engine["engine"]]
    return {key: value for key, value in engine.items() if key not in unused}


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


def to_param(values: Mapping[str, Any]) -> str:
    """Canonical JSON of named values, in which equal settings are equal texts.

    Braces inside texts are written as JSON escapes: Snakemake would take `{word}` in a param for a
    wildcard.
    """
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return re.sub(
        r'"(?:[^"\\]|\\.)*"',
        lambda match: match[0].replace("{", "\\u007b").replace("}", "\\u007d"),
        text,
    )
