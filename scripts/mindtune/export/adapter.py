"""A trained LoRA or DoRA adapter: what its folder holds, and whether it can be merged."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.export.adapter_config import rank_and_alpha
from mindtune.records import read_json
from mindtune.tensors import Tensor, load_tensor, read_tensors

# Keys of adapter_config.json (peft 0.20, ms-swift 4.6) that do not change the formula; any other
# that is set does, or may
PLAIN_KEYS = {
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_dtype",
    "lora_ga_config",
    "lorap_emb_lr",
    "lorap_lr_ratio",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
}
# Initialisations that leave the base's weights as they are; pissa, olora, corda, loftq and lora_ga
# change them
PLAIN_INITIALISATIONS = (True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: {module: (A, B)} with A [r, in] and B [out, r], the scale of B @ A, and for
    DoRA {module: m} with m [out].
    """

    pairs: Mapping[str, tuple[Tensor, Tensor]]
    scale: float
    magnitudes: Mapping[str, Tensor]

    def tensors(self) -> list[Tensor]:
        """All that was trained."""
        return [
            *(tensor for pair in self.pairs.values() for tensor in pair),
            *self.magnitudes.values(),
        ]


def lora_scale(config: Mapping[str, Any], path: Path) -> float:
    """Scale of B @ A; a UserError if the adapter is anything but plain LoRA or DoRA."""
    if config.get("peft_type") != "LORA":
        raise UserError(
            f"{path}: peft_type is {config.get('peft_type')!r}; only LORA can be merged"
        )
    if config.get("bias", "none") != "none":
        raise UserError(
            f"{path}: bias is {config['bias']!r}, which trains biases too; train with bias none"
        )
    if config.get("init_lora_weights", True) not in PLAIN_INITIALISATIONS:
        raise UserError(
            f"{path}: init_lora_weights {config['init_lora_weights']!r} changes the base's "
            f"weights, so the adapter does not "
            "belong to the base as published; train with init_lora_weights true"
        )
    for key in sorted(config.keys() - PLAIN_KEYS):
        if config[key]:
            raise UserError(
                f"{path}: {key} is {config[key]!r}; only LoRA with one rank and one alpha, or "
                f"DoRA, can be merged"
            )
    rank, alpha = rank_and_alpha(config, path)
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter folder's config and the layout of its tensors; a UserError names what is
    neither LoRA nor DoRA.
    """
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}; give the folder of a trained LoRA adapter")
    config = read_json(folder / "adapter_config.json")
    scale = lora_scale(config, folder / "adapter_config.json")
    kinds = {"lora_A.weight", "lora_B.weight"} | (
        {"lora_magnitude_vector"} if config.get("use_dora") else set()
    )
    parts = modules_of(folder, kinds)
    for module, found in parts.items():
        check_module(folder, module, found, kinds, config["r"])
    pairs = {
        module: (found["lora_A.weight"], found["lora_B.weight"]) for module, found in parts.items()
    }
    magnitudes = {
        module: found["lora_magnitude_vector"]
        for module, found in parts.items()
        if config.get("use_dora")
    }
    return Adapter(pairs, scale, magnitudes)


def modules_of(folder: Path, kinds: set[str]) -> dict[str, dict[str, Tensor]]:
    """{module: {kind: tensor}} of an adapter's file; a tensor of no such kind is a UserError."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in read_tensors([folder / "adapter_model.safetensors"]).items():
        match = re.fullmatch(r"base_model\.model\.(.+)\.(lora_.+)", name)
        if not match or match[2] not in kinds:
            raise UserError(
                f"{folder}: {name} is not a LoRA matrix of a linear layer; train plain LoRA or "
                f"DoRA on linear layers"
            )
        parts.setdefault(match[1], {})[match[2]] = tensor
    return parts


def check_module(
    folder: Path, module: str, found: Mapping[str, Tensor], kinds: set[str], rank: int
) -> None:
    """A module's tensors are all there, and of the configured rank; else a UserError."""
    if missing := sorted(kinds - found.keys()):
        raise UserError(
            f"{folder}: {module} has no {missing[0]}; the adapter is not whole, save it again"
        )
    a, b = found["lora_A.weight"], found["lora_B.weight"]
    if a.shape[0] != rank or b.shape[1] != rank:
        raise UserError(
            f"{folder}: {module} has lora_A {a.shape} and lora_B {b.shape}, but "
            f"adapter_config.json says r {rank}; the adapter and its config do not belong together"
        )


def match_adapter(adapter: Adapter, base: Mapping[str, Tensor], folder: Path) -> None:
    """Every adapter tensor must have its place in the base, with shapes that fit; else a UserError
    names the first.
    """
    for module, (a, b) in sorted(adapter.pairs.items()):
        weight = base.get(f"{module}.weight")
        if weight is None:
            raise UserError(
                f"{folder}: {a.name} is not used, the base has no {module}.weight; the adapter was "
                f"trained on another model"
            )
        if weight.shape != (b.shape[0], a.shape[1]):
            raise UserError(
                f"{folder}: {module} is {list(weight.shape)} in the base, but the adapter changes "
                f"{[b.shape[0], a.shape[1]]}; "
                "the adapter was trained on another model"
            )


def check_finite(tensors: Iterable[Tensor]) -> None:
    """NaN or infinity among what was trained is a UserError that names the tensor."""
    import torch

    for tensor in tensors:
        if not torch.isfinite(load_tensor(tensor)).all():
            raise UserError(
                f"{tensor.file}: {tensor.name} holds NaN or infinity; the training diverged, train "
                f"again"
            )
