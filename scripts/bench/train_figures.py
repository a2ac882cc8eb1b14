"""The figures of measured trainings, and the targets for them."""

from pathlib import Path
from statistics import median
from typing import Any

# A bfloat16 has 8 bits of precision: two ways to the same sum may differ by one part in 256
TARGETS = {
    "tokens_per_second": 14_110, "times_plain": 1.95, "peak_gib": 60,
    "first_step_after_start_seconds": 90,
    "loss_difference": 2**-8, "first_gradient_difference": 2**-8, "share_of_linear": 0.92,
}  # fmt: skip


AT_LEAST = ("tokens_per_second", "times_plain", "share_of_linear")


WARM = 3  # steps before the steady state: kernels are compiled in the first


def speeds(steady: list[dict[str, Any]]) -> dict[str, float]:
    """Speed, and what the observer read of a GPU, in the steps after the first ones; nothing if
    there are none.
    """
    if not steady:
        return {}
    found = {
        "tokens_per_second": sum(line["tokens"] for line in steady)
        / sum(line["seconds"] for line in steady),
        "seconds_a_step": median(line["seconds"] for line in steady),
    }
    if "watts" in steady[0]:
        found |= {
            "peak_gib": max(line["memory_gib"] for line in steady),
            "mfu": median(line["mfu"] for line in steady),
            "watts": median(line["watts"] for line in steady),
        }
    return found


def gradient_norms(history: Path) -> list[float]:
    """Norm of the gradient at each step, before clipping; empty for a training that was ended."""
    import pandas

    return pandas.read_csv(history).grad_norm.tolist() if history.exists() else []


def figures(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that there are targets for, of the runs named fast and plain, or of those named
    one (card) and several (cards).
    """
    named = {run["name"]: run for run in runs}
    if "one" in named and "several" in named:
        one, several = named["one"], named["several"]
        linear = several["gpus"] * one["tokens_per_second"]
        return {"share_of_linear": several["tokens_per_second"] / linear}
    fast, plain = named.get("fast"), named.get("plain")
    if fast and plain and fast["tokens_a_step"] == plain["tokens_a_step"]:
        return differences(fast, plain)
    found = {name: fast[name] for name in TARGETS if name in (fast or {})}
    if fast and not fast["dialogues"]:
        found.pop("first_step_after_start_seconds")
    if fast and plain:
        found["times_plain"] = fast["tokens_per_second"] / plain["tokens_per_second"]
    return found


def differences(fast: dict[str, Any], plain: dict[str, Any]) -> dict[str, float]:
    """How far two trainings on the same data are apart: the largest relative difference of a loss,
    and that of the first gradient.
    """
    losses = zip(fast["losses"], plain["losses"], strict=True)
    first, wanted = fast["gradient_norms"][0], plain["gradient_norms"][0]
    return {
        "loss_difference": max(abs(mine - other) / other for mine, other in losses),
        "first_gradient_difference": abs(first - wanted) / wanted,
    }
