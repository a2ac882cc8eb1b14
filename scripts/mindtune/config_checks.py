"""What config/schema.yaml cannot say of one key alone: names that must exist, and keys that
contradict each other.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mindtune import field_names
from mindtune.cli import UserError
from mindtune.client_checks import check_conversations
from mindtune.config import (
    exported_by_name,
    exported_dataset,
    leaves,
    run_settings,
    to_param,
)
from mindtune.config_errors import nearest
from mindtune.config_judges import check_judges
from mindtune.config_signing import check_signing
from mindtune.environments import DEMO_MODELS, ROOT
from mindtune.gate_checks import check_gates
from mindtune.kernels import check_base_precision
from mindtune.mixture import check_mixtures, folder_of, parts_of, used_sets
from mindtune.sources import HUBS, is_licence

FLASH_ATTENTION = ("flash_attention_4", "flash_attn")
# Linear layers of a block, by ms-swift's name of the architecture; of other architectures, any
# name is taken
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LIKE_LLAMA = ("llama", "mistral", "qwen2", "qwen3")
# Of a section, in bytes: a program gets one or two of them in an argument, which may have 131,071
MOST_BYTES = 60_000


def check_names(config: Mapping[str, Any]) -> None:
    """The exported run exists."""
    named = exported_by_name(config)
    if named is not None and named not in config["runs"]:
        raise UserError(
            f"config key export.run is {config['export']['run']!r}, which is not among runs "
            f"({', '.join(sorted(config['runs']))}); name one of them"
        )
    trained_on = sorted({folder_of(settings) for settings in config["runs"].values()})
    if named is None and len(trained_on) > 1:
        raise UserError(
            f"config key export.run chooses by {config['export']['run']['lowest']}, but the runs "
            f"train on several datasets ({', '.join(trained_on)}), whose dev sides are not the "
            f"same; name a run, or let all runs train on one dataset"
        )


def check_licences(config: Mapping[str, Any]) -> None:
    """Every dataset that a run trains on has a licence, or is accepted by name."""
    accepted = config["data"]["accept_unlicensed"]
    if strangers := sorted(set(accepted) - set(config["datasets"])):
        raise UserError(
            f"config key data.accept_unlicensed names {strangers[0]!r}, which is not among "
            f"datasets "
            f"({', '.join(sorted(config['datasets']))}); correct or remove it"
        )
    for name in used_sets(config):
        licence = config["datasets"][name]["licence"]
        if not is_licence(licence) and name not in accepted:
            raise UserError(
                f"config key datasets.{name}.licence is {licence!r}: data without a licence are "
                f"not trained on unasked; set their "
                f"licence, or accept them by name with data.accept_unlicensed: [{name}]"
            )


def check_sources(config: Mapping[str, Any]) -> None:
    """A local source has a path, a hub source an id and a revision."""
    parts = {f"datasets.{name}": spec for name, spec in config["datasets"].items()} | {
        "model": config["model"]
    }
    for key, spec in parts.items():
        needed = (
            ("path",)
            if spec["source"] == "local"
            else ("id", "revision")
            if spec["source"] != "package"
            else ("id",)
        )
        for name in needed:
            if spec.get(name) in (None, ""):
                raise UserError(
                    f"config key {key}.{name} is empty, but {key}.source is {spec['source']}, "
                    f"which needs it; set it"
                )
        if spec["source"] == "package" and spec["id"] not in DEMO_MODELS:
            raise UserError(
                f"config key {key}.id is {spec['id']!r}, but {key}.source is package, and the "
                f"packages hold {' and '.join(DEMO_MODELS)}; name one of them"
            )


def check_pinned(config: Mapping[str, Any]) -> None:
    """What is exported was made from sources that cannot change, or that are accepted by name."""
    accepted = config["export"]["accept_unpinned"]
    if strangers := sorted(set(accepted) - {"model", *config["datasets"]}):
        raise UserError(
            f"config key export.accept_unpinned names {strangers[0]!r}, which is neither model nor "
            f"among datasets ({', '.join(sorted(config['datasets']))}); correct or remove it"
        )
    sets = parts_of(exported_dataset(config))
    sources = {**{name: config["datasets"][name] for name in sets}, "model": config["model"]}
    for name, spec in sources.items():
        if spec["source"] in HUBS and name not in accepted and not is_pinned(spec):
            key = name if name == "model" else f"datasets.{name}"
            raise UserError(
                f"config key {key}.revision is {spec['revision']!r}, a name that can move: nobody "
                f"could make the export again; set it to a commit's hash, or {key}.sha256 to what "
                f"the fetch record says, or accept it with export.accept_unpinned: [{name}]"
            )


def is_pinned(spec: Mapping[str, Any]) -> bool:
    """Whether a hub's source can only ever be the same bytes."""
    return bool(spec["sha256"]) or re.fullmatch("[0-9a-f]{40}", str(spec["revision"])) is not None


def check_training(config: Mapping[str, Any]) -> None:
    """Every run can train as it says: packing isolates samples only with FlashAttention, which
    exists only on a GPU.
    """
    for run in config["runs"]:
        train = run_settings(config, run)
        check_base_precision(run, train)
        flash = train["attention"] in FLASH_ATTENTION
        if train["device"] == "gpu" and train["packing"] and not flash:
            raise UserError(
                f"run {run} packs on a GPU with train.attention {train['attention']!r}, which "
                f"would let packed dialogues see each "
                f"other; set train.attention to one of {', '.join(FLASH_ATTENTION)}, or "
                f"train.packing to false"
            )
        if train["device"] == "cpu" and flash:
            raise UserError(
                f"run {run} asks for train.attention {train['attention']!r} on a CPU, where "
                f"FlashAttention does not exist; "
                "set train.attention to sdpa, or device to gpu"
            )


def check_serving(config: Mapping[str, Any]) -> None:
    """The engine suits the device."""
    serve = config["serve"]
    if serve["engine"] == "lmdeploy" and config["device"] == "cpu":
        raise UserError(
            "serve.engine is lmdeploy, which needs a GPU, but device is cpu; set "
            "serve.engine to transformers, or device to gpu"
        )


def check_field_names(config: Mapping[str, Any]) -> None:
    """A dataset's fields make a whole."""
    for name, spec in config["datasets"].items():
        field_names.check_fields(spec["fields"], f"config key datasets.{name}.fields")


def check_shares(config: Mapping[str, Any]) -> None:
    """Dev and test leave something to train on."""
    split = config["data"]["split"]
    if split["dev_share"] + split["test_share"] >= 1:
        raise UserError(
            f"data.split.dev_share {split['dev_share']} and test_share {split['test_share']} leave "
            f"nothing to train on; lower them"
        )


def check_model(config: Mapping[str, Any]) -> None:
    """ms-swift knows the architecture and the chat template; config/ms-swift.json lists what the
    pinned version knows.
    """
    known = json.loads((ROOT / "config/ms-swift.json").read_text(encoding="utf-8"))
    for key in ("type", "template"):
        name = config["model"][key]
        if name not in known[key]:
            raise UserError(
                f"config key model.{key} is {name!r}, which ms-swift {known['version']} does not "
                f"know; the nearest that it knows "
                f"is {nearest(name, known[key])} (config/ms-swift.json lists all)"
            )


def check_projections(config: Mapping[str, Any]) -> None:
    """The layers that get an adapter exist, where the architecture tells their names."""
    if config["model"]["type"] not in LIKE_LLAMA:
        return
    for run in config["runs"]:
        for name in run_settings(config, run)["lora"]["target_modules"]:
            if name not in PROJECTIONS:
                near = f"the nearest name is {nearest(name, PROJECTIONS)}"
                whole = "all-linear" in name or "all_linear" in name
                raise UserError(
                    f"run {run}: train.lora.target_modules has {name!r}, which a model of type "
                    f"{config['model']['type']} does not have; "
                    f"{'list all seven' if whole else near} "
                    f"(of {', '.join(PROJECTIONS)})"
                )


def check_sizes(config: Mapping[str, Any]) -> None:
    """Every section fits into the argument in which a program gets it."""
    sections: dict[str, dict[str, Any]] = {}
    for path, value in leaves(config):
        deep = path[0] in ("datasets", "runs", "data", "evaluate")
        sections.setdefault(".".join(path[: 2 if deep else 1]), {})[".".join(path)] = value
    for name, section in sections.items():
        sizes = {
            key: len(to_param({key: value}).encode())
            for key, value in section.items()
            if not is_list_of_files(key)
        }
        if sum(sizes.values()) > MOST_BYTES:
            key = max(sizes, key=lambda key: sizes[key])
            raise UserError(
                f"config key {name} has {sum(sizes.values()):,} bytes, most of them in {key} "
                f"({sizes[key]:,}), and a program takes "
                f"at most {MOST_BYTES:,}; shorten it"
            )


def is_list_of_files(key: str) -> bool:
    """Whether a key's value reaches programs as files, not as a part of their settings."""
    return key == "data.contamination.files"


CROSS_CHECKS: list[Callable[[Mapping[str, Any]], None]] = [
    check_names,
    check_mixtures,
    check_sizes,
    check_licences,
    check_sources,
    check_pinned,
    check_model,
    check_training,
    check_projections,
    check_serving,
    check_gates,
    check_shares,
    check_conversations,
    check_field_names,
    check_judges,
    check_signing,
]
