"""Which LoRA layers read the same input, and their common forward pass on a GPU (fused_lora.py)."""

from collections.abc import Iterator, Sequence
from types import MethodType
from typing import Any

import torch

from mindtune.train.fp8 import Fp8Weights
from mindtune.train.fused_lora import FusedLora, Products, Weights
from mindtune.train.nf4 import restored

# Layers that a decoder block calls one after the other on one tensor (Qwen2, Llama)
TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
# Seeds are drawn from here on, so that a kernel sees 64 bits always and is compiled once
FIRST_SEED, LAST_SEED = 2**32, 2**62


class Group:
    """LoRA layers that read one tensor. The first that is called with it computes all of them; the
    others take their results.
    """

    def __init__(self, layers: Sequence[Any], fp8: bool) -> None:
        self.layers = list(layers)
        self.fp8 = fp8
        self.rounded: Fp8Weights | None = None
        self.seen: torch.Tensor | None = None
        self.waiting: dict[int, torch.Tensor] = {}

    def forward(self, layer: Any, x: torch.Tensor) -> torch.Tensor:
        """The result of one layer, (..., d_out), of x, (..., d_in)."""
        if x is not self.seen or id(layer) not in self.waiting:
            flat = x.reshape(-1, x.shape[-1]).to(kind_of(layer)).contiguous()
            results = FusedLora.apply(flat, *drawn(layer), self.products(), *trained(self.layers))
            self.seen = x
            self.waiting = dict(zip(map(id, self.layers), results, strict=True))
        result = self.waiting.pop(id(layer))
        if not self.waiting:
            self.seen = None
        return result.view(*x.shape[:-1], result.shape[-1])

    def products(self) -> Products:
        """The base weights; those in FP8 are made at the first call, when they are on the card, and
        take the place of the others.
        """
        weights = [layer.base_layer.weight for layer in self.layers]
        if weights[0].dtype == torch.uint8:
            return Weights(weights, restored)
        if not self.fp8:
            return Weights(weights)
        if self.rounded is None:
            self.rounded = Fp8Weights(weights)
            for weight in weights:
                weight.data = weight.data.new_empty(0)
        return self.rounded


def drawn(layer: Any) -> tuple[int, float, float]:
    """Seed of the masks, from torch's generator of the CPU, which a checkpoint keeps; share of
    numbers that are dropped; factor of the sum.
    """
    (name,) = layer.active_adapters
    share = getattr(layer.lora_dropout[name], "p", 0.0) if layer.training else 0.0
    seed = int(torch.randint(FIRST_SEED, LAST_SEED, ())) if share else FIRST_SEED
    return seed, share, layer.scaling[name]


def trained(layers: Sequence[Any]) -> Iterator[Any]:
    """Bias, a and b of every layer."""
    for layer in layers:
        (name,) = layer.active_adapters
        yield from (layer.base_layer.bias, layer.lora_A[name].weight, layer.lora_B[name].weight)


def grouped_forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """The forward pass of a peft LoRA layer that belongs to a group."""
    if layer.disable_adapters or layer.merged or args or kwargs:
        return type(layer).forward(layer, x, *args, **kwargs)
    return layer.group.forward(layer, x)


def kind_of(layer: Any) -> torch.dtype:
    """The type in which a layer multiplies, as autocast would have it."""
    weight = layer.base_layer.weight
    return weight.quant_state.dtype if weight.dtype == torch.uint8 else weight.dtype


def same_sum(layers: Sequence[Any]) -> bool:
    """Whether layers drop and scale alike."""
    facts = set()
    for layer in layers:
        (name,) = layer.active_adapters
        facts.add((getattr(layer.lora_dropout[name], "p", 0.0), layer.scaling[name], layer.r[name]))
    return len(facts) == 1


def groups_of(plain: Sequence[Any], model: torch.nn.Module, fp8: bool) -> list[Group]:
    """Groups of a model's plain LoRA layers; every layer is in one of them."""
    left = {id(layer): layer for layer in plain}
    groups = []
    for parent in model.modules():
        for names in TOGETHER:
            parts = [getattr(parent, name, None) for name in names]
            found = [part for part in parts if id(part) in left]
            if len(found) > 1 and same_sum(found):
                groups.append(Group([left.pop(id(layer)) for layer in found], fp8))
    return groups + [Group([layer], fp8) for layer in left.values()]


def speed_up_groups(plain: Sequence[Any], model: torch.nn.Module, fp8: bool) -> None:
    """Give plain LoRA layers the forward pass above."""
    for group in groups_of(plain, model, fp8):
        for layer in group.layers:
            layer.group = group
            layer.forward = MethodType(grouped_forward, layer)
