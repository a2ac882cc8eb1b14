"""How a training step fits into a card: micro-batch times accumulation, the effective batch unchanged, and recompute only if needed."""

from collections.abc import Mapping
from typing import Any

# Of the card's memory: the rest is for the allocator's gaps, the output layer's chunks and the CUDA context
SHARE = 0.75
BYTES = {"bfloat16": 2, "float32": 4}


def weights(model: Mapping[str, Any]) -> int:
    """Number of weights of a Qwen2-like model, from its config.json."""
    hidden, inner, layers = model["hidden_size"], model["intermediate_size"], model["num_hidden_layers"]
    keys = hidden // model["num_attention_heads"] * model["num_key_value_heads"]
    layer = hidden * (2 * hidden + 2 * keys + 3 * inner) + 2 * keys + 3 * hidden
    output = 1 if model["tie_word_embeddings"] else 2
    return layers * layer + output * model["vocab_size"] * hidden + hidden


def checkpoint_bytes(model: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Bytes of a checkpoint, if all seven matrices of a layer are adapted: the adapter and the optimizer's two moments, 32 bits each."""
    hidden, inner = model["hidden_size"], model["intermediate_size"]
    keys = hidden // model["num_attention_heads"] * model["num_key_value_heads"]
    ends = 2 * 2 * hidden + 2 * (hidden + keys) + 3 * (hidden + inner)
    return 3 * 4 * settings["lora"]["rank"] * ends * model["num_hidden_layers"]


def activation_bytes(model: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Bytes that a token leaves for the backward pass in all layers without recompute, with the fast kernels, in 16 bits.

    Per layer, h = hidden, k = key/value width, i = intermediate size: two norms' inputs 4h, q 2h, k and v 4k, attention's result
    2h, gate and up 4i; and before each of the seven adapters dropout(x) with its mask, 3 bytes a number: 18h + 3i.
    Without dropout the adapters share their inputs: 4h + 2i.
    """
    hidden, inner = model["hidden_size"], model["intermediate_size"]
    keys = hidden // model["num_attention_heads"] * model["num_key_value_heads"]
    adapters = 18 * hidden + 3 * inner if settings["lora"]["dropout"] else 4 * hidden + 2 * inner
    return model["num_hidden_layers"] * (8 * hidden + 4 * keys + 4 * inner + adapters)


def choose(model: Mapping[str, Any], settings: Mapping[str, Any], card_bytes: int | None) -> tuple[dict[str, Any], str]:
    """Return (batch_size, grad_accumulation, gradient_checkpointing) to use, and the reason in one sentence.

    `card_bytes` is the card's memory, None without a GPU. With `train.memory: fixed` or plain kernels the settings are taken as
    they are; else the largest micro-batch that fits without recompute, and recompute only if not even one sequence fits.
    """
    asked = {key: settings[key] for key in ("batch_size", "grad_accumulation", "gradient_checkpointing")}
    if settings["memory"] == "fixed" or settings["kernels"] == "plain" or card_bytes is None:
        why = (
            "no GPU"
            if card_bytes is None
            else "train.memory is fixed"
            if settings["memory"] == "fixed"
            else "plain kernels"
        )
        return asked, f"{describe(asked)} as configured ({why})"
    effective = asked["batch_size"] * asked["grad_accumulation"]
    fixed = weights(model) * BYTES[settings["dtype"]]
    sequence = activation_bytes(model, settings) * settings["max_length"] * BYTES[settings["dtype"]] // 2
    limit = int(SHARE * card_bytes)
    # beyond four sequences the products no longer gain
    fitting = [size for size in (4, 2, 1) if effective % size == 0 and fixed + size * sequence <= limit]
    size = fitting[0] if fitting else asked["batch_size"]
    chosen = {"batch_size": size, "grad_accumulation": effective // size, "gradient_checkpointing": not fitting}
    return chosen, (
        f"{describe(chosen)}: weights take {fixed / 2**30:.1f} GiB and a sequence of {settings['max_length']} tokens "
        f"{sequence / 2**30:.1f} GiB, of {limit / 2**30:.1f} GiB ({SHARE:.0%} of the card's memory)"
    )


def describe(chosen: Mapping[str, Any]) -> str:
    """The choice in words."""
    recompute = "with" if chosen["gradient_checkpointing"] else "without"
    return f"micro-batch {chosen['batch_size']} x accumulation {chosen['grad_accumulation']} {recompute} recompute"
