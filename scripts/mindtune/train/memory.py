"""How a training step fits into a card: micro-batch times accumulation, the effective batch
unchanged, and recompute only if needed.
"""

from collections.abc import Mapping
from typing import Any

from mindtune.kernels import by_kernels
from mindtune.model_shape import key_value_width, query_width, weights
from mindtune.tensors import DTYPES

# Of the card's memory: the rest is for the allocator's gaps, the output layer's chunks and the
# CUDA context
SHARE = 0.75
# A checkpoint holds what is trained and the optimizer's two moments of it
CHECKPOINT_COPIES = 3
# Of a weight in NF4: 4 bits, and for 64 weights one constant, held in 8 bits and 32 more for 256
# of them (QLoRA, section 3)
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8


def stored_bytes(model: Mapping[str, Any]) -> int:
    """Bytes of a model's files in 16 bits, from its config.json; 0 for one of another structure."""
    sizes = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
    )
    if not all(isinstance(model.get(name), int) for name in sizes):
        return 0
    return 2 * weights({"tie_word_embeddings": False, **model})


def fixed_bytes(model: Mapping[str, Any], settings: Mapping[str, Any]) -> float:
    """Bytes of a card's memory that a training takes before the first token, without what belongs
    to an adapter.
    """
    size = DTYPES[settings["dtype"]][1]
    if settings["method"] == "full":
        return 4 * size * weights(model)  # weights, gradients and the optimizer's two moments
    if settings["method"] == "qlora":
        ends = (
            (1 if model["tie_word_embeddings"] else 2) * model["vocab_size"] * model["hidden_size"]
        )
        return NF4_BYTES * (weights(model) - ends) + size * ends
    return size * weights(model)


def checkpoint_bytes(model: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Bytes of a checkpoint: what is trained and the optimizer's two moments; an adapter's in 32
    bits, on all seven matrices.
    """
    if settings["method"] == "full":
        return CHECKPOINT_COPIES * DTYPES[settings["dtype"]][1] * weights(model)
    hidden, inner = model["hidden_size"], model["intermediate_size"]
    queries, keys = query_width(model), key_value_width(model)
    ends = 2 * (hidden + queries) + 2 * (hidden + keys) + 3 * (hidden + inner)
    return CHECKPOINT_COPIES * 4 * settings["lora"]["rank"] * ends * model["num_hidden_layers"]


def activation_bytes(model: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Bytes that a token leaves for the backward pass in all layers without recompute, with the
    fast kernels, in 16 bits.

    Per layer, h = hidden, q = query width, k = key/value width, i = intermediate size: two norms'
    inputs 4h, queries 2q, keys and values 4k, attention's result 2q, gate and up 4i; and what the
    seven matrices read, where attention's result counts already: 4h + 2i. Only the formula keeps
    dropout(x) with its mask before each adapter in place of that, 3 bytes a number: 15h + 3q + 3i.
    """
    hidden, inner = model["hidden_size"], model["intermediate_size"]
    queries, keys = query_width(model), key_value_width(model)
    dropped = settings["method"] != "full" and settings["lora"]["dropout"]
    by_formula = dropped and not by_kernels(settings)
    inputs = 15 * hidden + 3 * queries + 3 * inner if by_formula else 4 * hidden + 2 * inner
    return model["num_hidden_layers"] * (4 * hidden + 4 * queries + 4 * keys + 4 * inner + inputs)


def choose(
    model: Mapping[str, Any], settings: Mapping[str, Any], card_bytes: int | None
) -> tuple[dict[str, Any], str]:
    """Return {batch_size, grad_accumulation, gradient_checkpointing} to use, and why.

    `card_bytes` is the card's memory, None without a GPU. With `train.memory: fixed`, plain
    kernels, or a method that the fast ones do not know, the settings are taken as they are; else
    the largest micro-batch that fits without recompute, and recompute only if not even one
    sequence fits.
    """
    asked = {
        key: settings[key] for key in ("batch_size", "grad_accumulation", "gradient_checkpointing")
    }
    if why := taken_as_configured(settings, card_bytes):
        return asked, f"{describe(asked)} as configured ({why})"
    effective = asked["batch_size"] * asked["grad_accumulation"]
    fixed = fixed_bytes(model, settings)
    sequence = (
        activation_bytes(model, settings)
        * settings["max_length"]
        * DTYPES[settings["dtype"]][1]
        // 2
    )
    limit = int(SHARE * card_bytes)
    # beyond four sequences the products no longer gain
    fitting = [
        size for size in (4, 2, 1) if effective % size == 0 and fixed + size * sequence <= limit
    ]
    size = fitting[0] if fitting else asked["batch_size"]
    chosen = {
        "batch_size": size,
        "grad_accumulation": effective // size,
        "gradient_checkpointing": not fitting,
    }
    what = "weights, gradients and moments" if settings["method"] == "full" else "weights"
    return chosen, (
        f"{describe(chosen)}: {what} take {fixed / 2**30:.1f} GiB and a sequence of "
        f"{settings['max_length']} tokens "
        f"{sequence / 2**30:.1f} GiB, of {limit / 2**30:.1f} GiB ({SHARE:.0%} of the card's memory)"
    )


def taken_as_configured(settings: Mapping[str, Any], card_bytes: int | None) -> str:
    """Why nothing is chosen; empty if something is."""
    reasons = {
        "no GPU": card_bytes is None,
        "train.memory is fixed": settings["memory"] == "fixed",
        "plain kernels": settings["kernels"] == "plain",
        f"method {settings['method']}": settings["method"] == "dora",
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def describe(chosen: Mapping[str, Any]) -> str:
    """The choice in words."""
    recompute = "with" if chosen["gradient_checkpointing"] else "without"
    return (
        f"micro-batch {chosen['batch_size']} x accumulation {chosen['grad_accumulation']} "
        f"{recompute} recompute"
    )
