"""The GPU's kernels of the LoRA sum against the formula in float64, with masks computed bit by bit
on the CPU.

Looked at in the trainer's own process before the model is loaded: a card, driver or compiler that
computes something else is refused before the first step.
"""

from collections.abc import Sequence
from typing import Any

import torch

from mindtune.cli import UserError
from mindtune.train.fused_lora import FusedLora, Weights, factor, threshold

SEED, SCALE, TOKENS, WIDTH = 0x1234567890ABCDEF, 2.0, 77, 272
LAYERS = ((144, 80, 96), (112, 64), (48,))  # output widths of layers that read one tensor
# Of the norm of what is right. Seen on an H200: 4e-3 in bfloat16, 3e-7 in float32, 0.04 in FP8; a
# wrong mask gives more than 0.2
TOLERANCE = {torch.bfloat16: 1e-2, torch.float32: 1e-5}
FP8_TOLERANCE = 0.08
BITS = 0xFFFFFFFF


def times(first: Any, second: Any) -> Any:
    """The low 32 bits of a product of numbers of 32 bits, held in 64."""
    low, high = (second & 0xFFFF) * first, ((second >> 16) * (first & 0xFFFF)) & 0xFFFF
    return ((low & BITS) + (high << 16)) & BITS


def mixed(value: Any) -> Any:
    """lora_kernels.mixed, of numbers of 32 bits held in 64."""
    value = value ^ (value >> 16)
    value = times(value, 0x7FEB352D)
    value = value ^ (value >> 15)
    value = times(value, 0x846CA68B)
    return value ^ (value >> 16)


def mask(seed: int, stream: int, tokens: int, width: int, share: float) -> torch.Tensor:
    """(tokens, width) of booleans: what lora_kernels.kept says of an adapter's whole input."""
    low, high = seed & BITS, seed >> 32
    rows = torch.arange(tokens)
    key = mixed(mixed(mixed((rows + low) & BITS) ^ high) ^ stream)
    step = mixed(key ^ high) | 1
    numbers = (key[:, None] + times(torch.arange(width)[None, :], step[:, None])) & BITS
    return mixed(numbers) >= threshold(share)


def formula(
    x: torch.Tensor, weights: Sequence[torch.Tensor], layers: Sequence[Any], share: float
) -> list[torch.Tensor]:
    """What FusedLora computes, by autograd's own operations."""
    outs = []
    for number, weight in enumerate(weights):
        bias, a, b = layers[3 * number : 3 * number + 3]
        kept = mask(SEED, number, *x.shape, share).to(x.device)
        outs.append(x @ weight.t() + bias + SCALE * (x * kept * factor(share)) @ a.t() @ b.t())
    return outs


def results(function: Any, x: torch.Tensor, layers: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Outputs of a function of x and of the layers' tensors, then the gradients of x, a and b."""
    leaves = [x, *[part for place, part in enumerate(layers) if place % 3]]
    for leaf in leaves:
        leaf.requires_grad_()
    outs = function(x, layers)
    draw = torch.Generator().manual_seed(1)
    torch.autograd.backward(
        outs, [torch.randn(out.shape, generator=draw).to(out.device, x.dtype) for out in outs]
    )
    return [*outs, *[leaf.grad for leaf in leaves]]


def differences(
    widths: Sequence[int], rank: int, share: float, dtype: torch.dtype, device: str,
    products: Any = Weights,
) -> list[float]:  # fmt: skip
    """How far every output and every gradient lies from the formula in float64, in norms."""
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw).div(shape[-1] ** 0.5).to(device)

    x = random(TOKENS, WIDTH).to(dtype)
    weights = [random(width, WIDTH).to(dtype) for width in widths]
    layers = [
        part
        for width in widths
        for part in (random(width).to(dtype), random(rank, WIDTH), random(width, rank))
    ]

    def fused(x: torch.Tensor, layers: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return FusedLora.apply(x, SEED, share, SCALE, products(weights), *layers)

    def right(x: torch.Tensor, layers: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return formula(x, [weight.double() for weight in weights], layers, share)

    found = results(fused, x, layers)
    wanted = results(right, x.detach().double(), [layer.detach().double() for layer in layers])
    return [
        float((mine.double() - his).norm() / his.norm())
        for mine, his in zip(found, wanted, strict=True)
    ]


def check_kernels(rank: int, dropout: float, dtype: str, fp8: bool, device: str) -> None:
    """Refuse a card on which the kernels do not compute the formula; see above."""
    form = getattr(torch, dtype)
    worst = max(max(differences(widths, rank, dropout, form, device)) for widths in LAYERS)
    limit, what = TOLERANCE[form], dtype
    if fp8 and worst <= limit:
        from mindtune.train.fp8 import Fp8Weights, check_card

        check_card(device)

        worst = max(differences(LAYERS[0], rank, dropout, form, device, Fp8Weights))
        limit, what = FP8_TOLERANCE, "FP8"
    print(f"fast kernels and formula differ by {worst:.2g} ({what}, {dropout} dropped)", flush=True)
    if not worst <= limit:
        raise UserError(
            f"the fast kernels of train.kernels differ on this card by {worst:.2g} from the "
            f"formula of LoRA in {what}, and {limit} is allowed; set train.kernels to plain"
        )
