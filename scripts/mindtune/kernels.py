"""Which trainings the GPU's kernels of train/fused_lora.py compute."""

from collections.abc import Mapping
from typing import Any

from mindtune.cli import UserError

# A higher rank does not fit into the kernels' registers
HIGHEST_RANK = 64


def by_kernels(settings: Mapping[str, Any]) -> bool:
    """Whether the kernels compute the adapters of a training on a GPU, or the formula does. They
    know plain LoRA only, beside a base in 16 or 4 bits.
    """
    return (
        settings["method"] in ("lora", "qlora")
        and settings["kernels"] == "fast"
        and settings["lora"]["rank"] <= HIGHEST_RANK
    )


def fused(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the kernels must compute, as lora_check.check_kernels takes it; None if they are not
    asked.
    """
    if settings["device"] != "gpu" or not by_kernels(settings):
        return None
    return {
        "rank": settings["lora"]["rank"],
        "dropout": settings["lora"]["dropout"],
        "dtype": settings["dtype"],
        "fp8": settings["base_precision"] == "fp8",
    }


def unfit_for_fp8(settings: Mapping[str, Any]) -> str:
    """Which setting of a training does not go with a base in FP8, in words; empty if all do, or if
    none is asked for.
    """
    fits = {
        "device": settings["device"] == "gpu",
        "method": settings["method"] == "lora",
        "kernels": settings["kernels"] == "fast",
        "dtype": settings["dtype"] == "bfloat16",
    }
    wrong = [f"{key} is {settings[key]}" for key, fit in fits.items() if not fit]
    if (rank := settings["lora"]["rank"]) > HIGHEST_RANK:
        wrong.append(f"lora.rank is {rank}")
    return wrong[0] if wrong and settings["base_precision"] == "fp8" else ""


def check_base_precision(run: str, settings: Mapping[str, Any]) -> None:
    """Something computes what a run asks of the base's precision."""
    if wrong := unfit_for_fp8(settings):
        raise UserError(
            f"run {run} asks for train.base_precision fp8, which needs device gpu, method "
            f"lora, kernels fast, dtype bfloat16 and a rank of at most {HIGHEST_RANK}, but "
            f"{wrong}; change that, or set train.base_precision to bf16"
        )
