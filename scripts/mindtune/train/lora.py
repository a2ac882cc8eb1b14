"""The same LoRA sum, W x + B A dropout(x) * alpha / r, with fewer passes over the activations than
peft 0.20.

peft casts x to the adapter's float32 before the dropout, and multiplies and adds the wide output
in passes of their own. Under bf16 autocast every product is bf16 anyway. Here x stays as it is,
the few numbers after A are scaled instead of the wide output, and the second product adds straight
into W x. The adapter's weights stay float32 and are cast where they are used; so do the
optimizer's. Differences are one bf16 rounding each; in float32 they are at most the order of two
additions.
"""

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch.nn.functional import linear

from mindtune.cli import UserError


def lora_forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """The forward pass of a peft LoRA layer with one active plain adapter; x is (..., d_in), the
    result (..., d_out).
    """
    if layer.disable_adapters or layer.merged or args or kwargs:
        return type(layer).forward(layer, x, *args, **kwargs)
    (name,) = layer.active_adapters
    # two dimensions from here on: adding in place to a view would make autograd copy the whole
    # gradient three times
    out = layer.base_layer(x.reshape(-1, x.shape[-1]))
    a = layer.lora_A[name].weight.to(out.dtype)
    b = layer.lora_B[name].weight.to(out.dtype)
    dropped = layer.lora_dropout[name](x.reshape(-1, x.shape[-1]).to(out.dtype))
    out.addmm_(linear(dropped, a) * layer.scaling[name], b.t())
    return out.view(*x.shape[:-1], out.shape[-1])


def is_plain(layer: Any) -> bool:
    """Whether a module is peft's LoRA layer over a plain linear one, with one adapter, without
    DoRA or other variants.
    """
    from peft.tuners.lora.layer import Linear

    return (
        type(layer) is Linear
        and type(layer.base_layer) is torch.nn.Linear
        and len(layer.active_adapters) == 1
        and not getattr(layer, "lora_variant", None)
        and not any(getattr(part, "bias", None) is not None for part in layer.lora_B.values())
    )


def check_all_plain(model: torch.nn.Module, plain: Sequence[Any]) -> None:
    """The kernels compute every adapter of a model: a layer left out would keep its base in bf16,
    and the run would be called FP8 all the same. A UserError that names the first one.
    """
    from peft.tuners.lora.layer import LoraLayer

    known = set(map(id, plain))
    left = [
        name
        for name, part in model.named_modules()
        if isinstance(part, LoraLayer) and id(part) not in known
    ]
    if left:
        raise UserError(
            f"train.base_precision is fp8, and {len(left)} of {len(known) + len(left)} adapters "
            f"stand beside a layer that cannot be in FP8, such as {left[0]}; leave it out of "
            "train.lora.target_modules, or set train.base_precision to bf16"
        )


def speed_up_lora(model: torch.nn.Module, fused: bool = False, fp8: bool = False) -> int:
    """Give every plain LoRA layer the forward pass above, or, `fused`, that of a GPU's kernels,
    then with base weights in FP8 if that is asked for; return how many there were.
    """
    if fused:
        from mindtune.train.nf4 import is_in_4_bits

        layers = [part for part in model.modules() if is_plain(part) or is_in_4_bits(part)]
        if fp8:
            check_all_plain(model, layers)
        from mindtune.train.lora_groups import speed_up_groups

        speed_up_groups(layers, model, fp8)
        return len(layers)
    layers = [module for module in model.modules() if is_plain(module)]
    for layer in layers:
        layer.forward = MethodType(lora_forward, layer)
    return len(layers)
