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
import re
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.export.adapter import Adapter
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

# Elements merged at a time: 1 MiB of fp32, which a core's cache holds
BLOCK = 2**18
# Top-level files that travel with the weights: configs, tokenizer, chat template
SIDE_FILES = re.compile(r".*\.(json|jinja|txt|model|tiktoken)")


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
