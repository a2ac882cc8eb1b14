"""Base weights in 4 bits (NF4) for the products of a training with method qlora, restored for each
product and given back at once, as bitsandbytes' own pass does.
"""

from typing import Any

import torch


def is_in_4_bits(layer: Any) -> bool:
    """Whether a module is peft's LoRA layer over bitsandbytes' linear one in 4 bits, with one
    adapter, without DoRA or other variants.
    """
    try:
        from bitsandbytes.nn import Linear4bit as Base
        from peft.tuners.lora.bnb import Linear4bit
    except ImportError:
        return False
    return (
        type(layer) is Linear4bit
        and type(layer.base_layer) is Base
        and len(layer.active_adapters) == 1
        and not getattr(layer, "lora_variant", None)
    )


def restored(weight: Any) -> torch.Tensor:
    """(d_out, d_in) of a weight in 4 bits, in the type that it had."""
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, weight.quant_state)
