"""Merge a LoRA adapter into its base, one tensor at a time: W' = round(fp32(W) + scale * (fp32(B)
@ fp32(A))).

Scale is alpha / r (Hu et al. 2021, section 4.1), or alpha / sqrt(r) for rank-stabilised LoRA
(Kalajdzievski 2023). The order of the operations is peft's on a CPU, so ms-swift's `swift export
--merge_lora true` gives the same bits.

DoRA (Liu et al. 2024, equation 5) also trains the length of each row, so V = fp32(W) + scale *
(fp32(B) @ fp32(A)) becomes round(m * V / |V|), row by row, all of it in fp32. (peft computes it in
the base's format, so its bfloat16 differs in the last bits.)
"""

import json
import math
import re
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.export.adapter_config import rank_and_alpha
from mindtune.export.shards import ShardWriter, in_file_order, retyped
from mindtune.records import read_json
from mindtune.tensors import (
    DTYPES,
    INDEX,
    Tensor,
    load_tensor,
    read_model,
    read_tensors,
    weight_files,
)

# Keys of adapter_config.json (peft 0.20, ms-swift 4.6) that do not change the formula; any other
# that is set does, or may
PLAIN_KEYS = {
    *(
        "auto_mapping",
        "base_model_name_or_path",
        "bias",
        "corda_config",
        "eva_config",
        "exclude_modules",
        "inference_mode",
    ),
    *(
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_alpha",
        "lora_dropout",
    ),
    *(
        "lora_dtype",
        "lora_ga_config",
        "lorap_emb_lr",
        "lorap_lr_ratio",
        "megatron_core",
        "peft_type",
        "peft_version",
    ),
    *(
        "qalora_group_size",
        "r",
        "revision",
        "target_modules",
        "task_type",
        "use_dora",
        "use_rslora",
    ),
}
# Initialisations that leave the base's weights as they are; pissa, olora, corda, loftq and lora_ga
# change them
PLAIN_INITIALISATIONS = (True, False, "gaussian", "orthogonal", "eva")
# Elements merged at a time: 1 MiB of fp32, which a core's cache holds
BLOCK = 2**18
# Top-level files that travel with the weights: configs, tokenizer, chat template
SIDE_FILES = re.compile(r".*\.(json|jinja|txt|model|tiktoken)")


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
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in read_tensors([folder / "adapter_model.safetensors"]).items():
        match = re.fullmatch(r"base_model\.model\.(.+)\.(lora_.+)", name)
        if not match or match[2] not in kinds:
            raise UserError(
                f"{folder}: {name} is not a LoRA matrix of a linear layer; train plain LoRA or "
                f"DoRA on linear layers"
            )
        parts.setdefault(match[1], {})[match[2]] = tensor
    for module, found in parts.items():
        if missing := sorted(kinds - found.keys()):
            raise UserError(
                f"{folder}: {module} has no {missing[0]}; the adapter is not whole, save it again"
            )
        a, b = found["lora_A.weight"], found["lora_B.weight"]
        if a.shape[0] != config["r"] or b.shape[1] != config["r"]:
            raise UserError(
                f"{folder}: {module} has lora_A {a.shape} and lora_B {b.shape}, but "
                f"adapter_config.json says r "
                f"{config['r']}; the adapter and its config do not belong together"
            )
    pairs = {
        module: (found["lora_A.weight"], found["lora_B.weight"]) for module, found in parts.items()
    }
    magnitudes = {
        module: found["lora_magnitude_vector"]
        for module, found in parts.items()
        if config.get("use_dora")
    }
    return Adapter(pairs, scale, magnitudes)


def read_full(folder: Path, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The trained weights, which must be those of the base by name and shape; else a UserError
    names the first that is not.
    """
    trained = read_tensors(weight_files(folder))
    for name in sorted(base.keys() | trained.keys()):
        shapes = [tensors[name].shape if name in tensors else None for tensors in (base, trained)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{folder}: {name} is {shapes[1] or 'missing'} and in the base "
                f"{shapes[0] or 'missing'}; "
                "these weights were not trained from this base"
            )
    return trained


def tokenizer_length(folder: Path) -> int:
    """Number of rows that the tokenizer can ask for: its highest id plus one."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{folder} has no tokenizer.json; fetch the model with its tokenizer")
    data = read_json(path)
    ids = [token["id"] for token in data["added_tokens"]]
    return max(max(data["model"]["vocab"].values()), *ids) + 1


def read_base(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of the base; a UserError if it is quantised, or too small for its
    tokenizer.
    """
    config = read_json(folder / "config.json")
    if config.get("quantization_config"):
        raise UserError(
            f"{folder}/config.json has quantization_config; merge into the unquantised weights"
        )
    tensors = read_model(folder)
    embeddings = [
        tensor for name, tensor in tensors.items() if name.endswith("embed_tokens.weight")
    ]
    length = tokenizer_length(folder)
    if embeddings and embeddings[0].shape[0] < length:
        raise UserError(
            f"{folder}: {embeddings[0].name} has {embeddings[0].shape[0]} rows, but the tokenizer "
            f"has {length} tokens; "
            "the tokenizer belongs to another model"
        )
    return config, tensors


def drop_tied_head(
    config: Mapping[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Leave out a head that is the embedding stored twice, as transformers does on saving; return
    (tensors, names left out).
    """
    import torch

    head, embedding = tensors.get("lm_head.weight"), tensors.get("model.embed_tokens.weight")
    if not config.get("tie_word_embeddings") or head is None or embedding is None:
        return tensors, []
    if not torch.equal(load_tensor(head), load_tensor(embedding)):
        raise UserError(
            f"{head.file}: lm_head.weight differs from the embedding although config.json ties "
            f"them; "
            "one of the two is wrong, fetch the model again"
        )
    return {name: tensor for name, tensor in tensors.items() if name != head.name}, [head.name]


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


def merged_blocks(tensor: Tensor, adapter: Adapter, dtype: str, scratch: Any) -> Iterator[Any]:
    """Yield the merged values of one base tensor in `dtype`, flat, in blocks of BLOCK elements.

    The product is computed whole, into `scratch` (fp32, one element for each of the tensor's),
    because another shape could make the library sum in another order; the rest is element by
    element, in blocks that stay in the processor's cache. A tensor that no adapter pair changes is
    only converted, if need be.
    """
    import torch

    target = getattr(torch, dtype)
    values = load_tensor(tensor).reshape(-1).split(BLOCK)
    module = tensor.name.removesuffix(".weight") if tensor.name.endswith(".weight") else ""
    if module not in adapter.pairs:
        yield from (block.to(target) for block in values)
        return
    a, b = (load_tensor(matrix).float() for matrix in adapter.pairs[module])
    product = scratch[: tensor.numel]
    torch.mm(b, a, out=product.view(tensor.shape))
    blocks = (
        block.mul_(adapter.scale).add_(base)
        for block, base in zip(product.split(BLOCK), values, strict=True)
    )
    if module in adapter.magnitudes:
        deque(blocks, maxlen=0)
        rows = product.view(tensor.shape)
        rows.mul_(
            (load_tensor(adapter.magnitudes[module]).float() / torch.linalg.norm(rows, dim=1))[
                :, None
            ]
        )
        blocks = product.split(BLOCK)
    for block in blocks:
        # a copy even if the dtype is the same: the scratch is used again while the block waits to
        # be written
        yield block.to(target, copy=True)


def write_shard(path: Path, shard: Iterable[Tensor], adapter: Adapter, dtype: str) -> str:
    """Compute and write one shard; return its SHA-256."""
    import torch

    ordered = in_file_order(shard)
    changed = [
        tensor.numel for tensor in ordered if tensor.name.removesuffix(".weight") in adapter.pairs
    ]
    scratch = torch.empty(max(changed, default=0), dtype=torch.float32)
    with ShardWriter(path, [retyped(tensor, dtype) for tensor in ordered]) as writer:
        for tensor in ordered:
            for block in merged_blocks(tensor, adapter, dtype, scratch):
                writer.write(block)
    return writer.digest


def copy_side_files(base: Path, folder: Path, dtype: str) -> list[str]:
    """Copy configs, tokenizer and template byte for byte; return the keys of config.json that had
    to change.

    Only a stated dtype that is not the merged one is changed: transformers and LMDeploy would
    otherwise load another.
    """
    for path in sorted(base.iterdir()):
        if path.is_file() and path.name != INDEX and SIDE_FILES.fullmatch(path.name):
            shutil.copyfile(path, folder / path.name)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    stated = [key for key in ("dtype", "torch_dtype") if key in config] or ["torch_dtype"]
    wrong = [key for key in stated if config.get(key) != dtype]
    if wrong:
        config.update(dict.fromkeys(wrong, dtype))
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
        (folder / "config.json").write_bytes(text.encode("utf-8"))
    return wrong


def count_bytes(tensors: Iterable[Tensor], dtype: str) -> int:
    """Bytes of the tensors when stored in `dtype`."""
    return sum(tensor.numel * DTYPES[dtype][1] for tensor in tensors)
