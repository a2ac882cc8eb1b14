"""Base weights in 4 bits (NF4) for the products of a training with method qlora, restored for each
product and given back at once, as bitsandbytes' own pass does.
"""

from collections.abc import Sequence
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


class Nf4Weights:
    """Products (fused_lora.py) with weights in 4 bits."""

    def __init__(self, weights: Sequence[Any]) -> None:
        self.weights = list(weights)

    def outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """See Products."""
        return [x @ restored(weight).t() for weight in self.weights]

    def gradient(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """See Products."""
        dx = gradients[0] @ restored(self.weights[0])
        for gradient, weight in zip(gradients[1:], self.weights[1:], strict=True):
            dx.addmm_(gradient, restored(weight))
        return dx
