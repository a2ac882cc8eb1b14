"""LoRA layers that read the same input as one function, W x + B A dropout(x) * alpha / r each, with
one pass over the activations where autograd makes five.

The input is kept once, in place of a dropped copy and a mask for every adapter; masks are computed
again from a seed (lora_kernels.py), and the gradients of all layers gather in one buffer. The
weights of the adapter stay float32 and are rounded where they are used, as under autocast; their
gradients come in float32.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import triton

from mindtune.train import lora_kernels

BT = 64  # rows of a tile
PROGRAMS = 1024  # a kernel is split until it has about so many: several for each processor


class Products(Protocol):
    """The base weights of layers that read the same input, in some precision."""

    def outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What every layer makes of x (T, d_in) without its bias, (T, d_out) each."""

    def gradient(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """The input's gradient (T, d_in), of those of all outputs."""


class Weights:
    """Base weights as they are, (d_out, d_in) each, or restored anew for each product."""

    def __init__(
        self, weights: Sequence[Any], restored: Callable[[Any], torch.Tensor] = lambda kept: kept
    ) -> None:
        self.weights, self.restored = list(weights), restored

    def outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """See Products."""
        return [x @ self.restored(weight).t() for weight in self.weights]

    def gradient(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """See Products."""
        dx = gradients[0] @ self.restored(self.weights[0])
        for gradient, weight in zip(gradients[1:], self.weights[1:], strict=True):
            dx.addmm_(gradient, self.restored(weight))
        return dx


def padded(rank: int) -> int:
    """The rank as Triton multiplies it: a power of two of at least 16."""
    return max(16, triton.next_power_of_2(rank))


def threshold(share: float) -> int:
    """Of 2^32 equally frequent numbers those below this are dropped."""
    return round(share * 2**32)


def factor(share: float) -> float:
    """What a kept number is multiplied with."""
    return 1 / (1 - share)


def three(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The kernels take up to three; a missing one is not read."""
    return [*tensors, *[tensors[0]] * (3 - len(tensors))]


def exact(tensor: torch.Tensor) -> bool:
    """Whether products are those of float32, and not of 16 bits."""
    return tensor.dtype == torch.float32


def shrink(
    x: torch.Tensor, a: Sequence[torch.Tensor], scale: float, seed: int, share: float
) -> torch.Tensor:
    """scale * dropout_n(x) a_n^T of up to three adapters, (N, T, r) in x's type."""
    tokens, width = x.shape
    count, rank, block = len(a), a[0].shape[0], 64
    tiles = triton.cdiv(tokens, BT)
    split = max(1, min(triton.cdiv(width, block), PROGRAMS // (tiles * count)))
    parts = x.new_empty(split, count, tokens, rank, dtype=torch.float32)
    lora_kernels.shrink_kernel[(count * split, tiles)](
        x, *three(a), parts, seed, threshold(share), tokens, width, rank,
        N=count, RP=padded(rank), BT=BT, BD=block, SPLIT=split, DROPS=share > 0, EXACT=exact(x),
    )  # fmt: skip
    return parts.sum(0).mul_(scale * factor(share)).to(x.dtype)


def expand(h: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None, out: torch.Tensor) -> None:
    """out += h b^T, and the bias if there is one."""
    tokens, width = out.shape
    block = 64 if exact(out) else 128
    lora_kernels.expand_kernel[(triton.cdiv(width, block), triton.cdiv(tokens, BT))](
        h, b, b if bias is None else bias, out, tokens, width, b.shape[1],
        RP=padded(b.shape[1]), BT=BT, BD=block, BIASED=bias is not None, EXACT=exact(out),
    )  # fmt: skip


def shares(blocks: int, tiles: int) -> tuple[int, int]:
    """How many tiles of rows a program takes, and how many programs that makes for a block."""
    rows = max(1, triton.cdiv(tiles * blocks, PROGRAMS))
    return rows, triton.cdiv(tiles, rows)


def collect(
    gradient: torch.Tensor, h: torch.Tensor, b: torch.Tensor, few: torch.Tensor, scale: float
) -> torch.Tensor:
    """few = scale * gradient b, (T, r); returns gradient^T h in float32, (D, r)."""
    tokens, width = gradient.shape
    rank, block = b.shape[1], 64 if exact(gradient) else 128
    blocks = triton.cdiv(width, block)
    share, splits = shares(blocks, triton.cdiv(tokens, BT))
    parts = gradient.new_empty(blocks, tokens, rank, dtype=torch.float32)
    wide = gradient.new_empty(splits, rank, width, dtype=torch.float32)
    lora_kernels.collect_kernel[(blocks, splits)](
        gradient, h, b, parts, wide, tokens, width, rank,
        RP=padded(rank), BT=BT, BD=block, SHARE=share, EXACT=exact(gradient),
    )  # fmt: skip
    few.copy_(parts.sum(0).mul_(scale))
    return wide.sum(0).t()


def spread_tiles(count: int, rank: int, is_exact: bool) -> tuple[int, int, int]:
    """Rows, columns and warps of a tile of `spread`: the fastest on an H200 for 6,144 rows, and
    such that the sums of a higher rank stay in registers.
    """
    if rank > 16 or is_exact:
        return 32, 64, 8
    return (64, 128, 8) if count == 3 else (32, 64, 4)


def spread(
    x: torch.Tensor, dx: torch.Tensor, d: torch.Tensor, a: Sequence[torch.Tensor],
    seed: int, share: float,
) -> torch.Tensor:  # fmt: skip
    """Add every adapter's part to dx, and return the gradients of every a in float32, (N, r, D)."""
    tokens, width = x.shape
    count, _, rank = d.shape
    rows, block, warps = spread_tiles(count, padded(rank), exact(x))
    blocks = triton.cdiv(width, block)
    each, splits = shares(blocks, triton.cdiv(tokens, rows))
    parts = x.new_empty(splits, count, rank, width, dtype=torch.float32)
    lora_kernels.spread_kernel[(blocks, splits)](
        x, dx, d, *three(a), parts, seed, threshold(share), factor(share), tokens, width, rank,
        N=count, RP=padded(rank), BT=rows, BD=block, SHARE=each, DROPS=share > 0, EXACT=exact(x),
        num_warps=warps, num_stages=2,
    )  # fmt: skip
    return parts.sum(0).mul_(factor(share))


class FusedLora(torch.autograd.Function):
    """apply(x, seed, share, scale, products, *(bias, a, b of every layer)) -> one output a layer.

    x is (T, d_in); `products` holds the frozen weights (Products); biases are frozen or None; a is
    (r, d_in) and b (d_out, r), both trained. Outputs are (T, d_out) in x's type.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, seed: int, share: float, scale: float, products: Products,
        *layers: Any,
    ) -> tuple[torch.Tensor, ...]:  # fmt: skip
        biases, a, b = (layers[place::3] for place in range(3))
        h = shrink(x, a, scale, seed, share)
        outs = products.outputs(x)
        for few, bias, up, out in zip(h, biases, b, outs, strict=True):
            expand(few, up, bias, out)
        ctx.save_for_backward(x, h, *a, *b)
        ctx.seed, ctx.share, ctx.scale, ctx.products = seed, share, scale, products
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        x, h, *rest = ctx.saved_tensors
        count = len(gradients)
        a, b = rest[:count], rest[count:]
        gradients = [gradient.contiguous() for gradient in gradients]
        few = torch.empty_like(h)
        db = [
            collect(gradient, h[place], b[place], few[place], ctx.scale)
            for place, gradient in enumerate(gradients)
        ]
        dx = ctx.products.gradient(gradients)
        da = spread(x, dx, few, a, ctx.seed, ctx.share)
        trained = [(None, da[place], db[place]) for place in range(count)]
        return (dx, None, None, None, None, *[value for layer in trained for value in layer])
