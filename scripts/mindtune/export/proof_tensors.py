"""First proof of a merge: every tensor and every file beside the weights is what it must be, bit
for bit.

The arithmetic is written a second time here on purpose; it shares with the merge only the reading
of files.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.export.adapter_config import rank_and_alpha
from mindtune.records import list_files, read_json, sha256_file
from mindtune.tensors import Tensor, is_full, load_tensor, read_model, read_tensors


def bits(values: Any) -> Any:
    """The values as integers, so that NaN equals NaN and 0.0 differs from -0.0."""
    import torch

    return values.contiguous().view({2: torch.int16, 4: torch.int32}[values.element_size()])


def expected_names(base: Mapping[str, Tensor], tied: bool) -> set[str]:
    """Names that the merged model must have: the base's, without a head that is stored although it
    is the embedding.
    """
    return {name for name in base if not (tied and name == "lm_head.weight")}


@dataclass(frozen=True)
class Change:
    """What training did to one tensor: A, B and for DoRA the magnitudes; or the whole tensor as it
    was trained.
    """

    parts: Mapping[str, Tensor]
    scale: float

    def applied(self, base: Any) -> Any:
        """The tensor after training, in fp32, not rounded."""
        values = {name: load_tensor(part).float() for name, part in self.parts.items()}
        if "whole" in values:
            return values["whole"]
        total = base.float() + (values["lora_B.weight"] @ values["lora_A.weight"]) * self.scale
        if "lora_magnitude_vector" in values:
            total *= values["lora_magnitude_vector"][:, None] / total.norm(dim=1, keepdim=True)
        return total


def prove_tensor(merged: Tensor, base: Tensor, change: Change | None) -> float:
    """Compare one tensor bit for bit and return the share of the merged weights' norm that
    rounding took (0 if nothing changed it).

    A difference, NaN or infinity is a UserError that names the tensor.
    """
    import torch

    found, values = load_tensor(merged), load_tensor(base)
    exact = change.applied(values) if change else values
    wanted = exact.to(found.dtype)
    if found.shape != wanted.shape or not torch.equal(bits(found), bits(wanted)):
        what = "what was trained, rounded" if change else "the base's tensor"
        detail = f"shape {list(found.shape)} instead of {list(wanted.shape)}"
        if found.shape == wanted.shape:
            differs = bits(found) != bits(wanted)
            largest = (found.float() - wanted.float()).abs().max().item()
            detail = (
                f"{int(differs.sum())} of {found.numel()} values differ, by at most {largest:.3g}"
            )
        raise UserError(
            f"{merged.file}: {merged.name} is not {what} ({detail}); merge again on this machine"
        )
    if not torch.isfinite(found).all():
        raise UserError(
            f"{merged.file}: {merged.name} holds NaN or infinity; "
            + (
                f"the training diverged, or {found.dtype} is too small"
                if torch.isfinite(values).all()
                else f"so does the base itself ({base.file}): take another copy or revision of it"
            )
        )
    return ((wanted.float() - exact).norm() / exact.norm()).item() if change else 0.0


def changes_of(folder: Path) -> dict[str, Change]:
    """{name of the base's tensor: what training did to it}, of an adapter's folder or of a whole
    model's.
    """
    if is_full(folder):
        return {name: Change({"whole": tensor}, 1.0) for name, tensor in read_model(folder).items()}
    config = read_json(folder / "adapter_config.json")
    rank, alpha = rank_and_alpha(config, folder / "adapter_config.json")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    kinds = [
        "lora_A.weight",
        "lora_B.weight",
        *(["lora_magnitude_vector"] if config.get("use_dora") else []),
    ]
    tensors = read_tensors([folder / "adapter_model.safetensors"])
    found = [re.fullmatch(r"base_model\.model\.(.+)\.lora_A\.weight", name) for name in tensors]
    modules = [match[1] for match in found if match]
    wanted = {
        module: {kind: f"base_model.model.{module}.{kind}" for kind in kinds} for module in modules
    }
    if {name for parts in wanted.values() for name in parts.values()} != tensors.keys():
        raise UserError(
            f"{folder}: its {len(tensors)} tensors are not {' and '.join(kinds)} of {len(modules)} "
            f"modules; train plain LoRA or DoRA"
        )
    return {
        f"{module}.weight": Change({kind: tensors[name] for kind, name in parts.items()}, scale)
        for module, parts in wanted.items()
    }


def prove_tensors(base_folder: Path, adapter: Path, merged_folder: Path) -> dict[str, Any]:
    """Prove all tensors, one at a time; return counts and the largest rounding."""
    base, merged, changes = read_model(base_folder), read_model(merged_folder), changes_of(adapter)
    names = expected_names(
        base, bool(read_json(merged_folder / "config.json").get("tie_word_embeddings"))
    )
    for problem, wrong in (
        ("is missing from the merged model", names - merged.keys()),
        ("is not in the base", merged.keys() - names),
        ("is changed by the adapter, but not in the merged model", changes.keys() - merged.keys()),
    ):
        if wrong:
            raise UserError(f"{merged_folder}: {min(wrong)} {problem}; merge again")
    rounding = {
        name: prove_tensor(merged[name], base[name], changes.get(name)) for name in sorted(names)
    }
    return {
        "changed": {"n": len(changes), "exact": len(changes)},
        "other": {"n": len(names) - len(changes), "equal": len(names) - len(changes)},
        "max_difference": 0.0,
        "scale": None if is_full(adapter) else next(iter(changes.values())).scale,
        "dtypes": sorted({tensor.dtype for tensor in merged.values()}),
        "largest_rounding": max(rounding.values()),
    }


def prove_side_files(base: Path, merged: Path) -> dict[str, str]:
    """Every file beside the weights is the base's, but for the stated dtype; return {name:
    sha256}.
    """
    hashes = {}
    for name in list_files(merged):
        if name.endswith(".safetensors") or name == "model.safetensors.index.json":
            continue
        if not (base / name).is_file():
            raise UserError(f"{merged / name} is not in the base; merge again")
        hashes[name] = sha256_file(merged / name)
        if hashes[name] == sha256_file(base / name):
            continue
        if name == "config.json" and without_dtype(base / name) == without_dtype(merged / name):
            continue
        raise UserError(
            f"{merged / name} differs from the base's; serving would not read what training read, "
            f"so merge again"
        )
    needed = re.compile(
        r"config\.json|generation_config\.json|chat_template\.jinja|vocab\.json|merges\.txt|tokenizer[^/]*"
    )
    missing = {name for name in list_files(base) if needed.fullmatch(name)} - hashes.keys()
    if missing:
        raise UserError(f"{merged} lacks {min(missing)}; merge again")
    return hashes


def without_dtype(path: Path) -> dict[str, Any]:
    """A model's config but for the dtype, which may be stated under two names."""
    return {
        key: value for key, value in read_json(path).items() if key not in ("dtype", "torch_dtype")
    }
