"""Base weights in FP8 (E4M3) for the products of a training: `train.base_precision: fp8`.

Weights are frozen, so they are rounded once: for the forward product with a scale for each row, for
the input's gradient, as its transpose, with a scale for each column. Activations and gradients are
rounded anew each time, with a scale for each token. Sums are taken in float32. Adapters, norms,
attention, embedding and output layer stay as they are.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from mindtune.cli import UserError

# Products in FP8 with a scale for each row; NVIDIA's Hopper, as (major, minor)
OLDEST = (9, 0)
LARGEST = 448.0  # of E4M3 (Micikevicius et al., FP8 Formats for Deep Learning, 2022, Table 1)


@triton.jit
def _largest(x, row, D, most, BD: tl.constexpr):
    """The largest magnitudes so far, and of a row of one tensor."""
    columns = tl.arange(0, BD)
    for start in range(0, D, BD):
        value = tl.load(x + row * D + start + columns, mask=start + columns < D, other=0.0)
        most = tl.maximum(most, tl.abs(value.to(tl.float32)))
    return most


@triton.jit
def _round(x, place, row, D, scale, BD: tl.constexpr):
    """Write a row of one tensor in FP8."""
    columns = tl.arange(0, BD)
    for start in range(0, D, BD):
        value = tl.load(x + row * D + start + columns, mask=start + columns < D, other=0.0)
        value = (value.to(tl.float32) / scale).to(place.dtype.element_ty)
        tl.store(place + start + columns, value, mask=start + columns < D)


@triton.jit(do_not_specialize=["T"])
def quantize_kernel(
    x0, x1, x2, out, scales, T, D0, D1, D2, LIMIT: tl.constexpr, N: tl.constexpr, BD: tl.constexpr
):  # fmt: skip
    """One row of up to three tensors, beside each other, in FP8 with one scale."""
    row = tl.program_id(0).to(tl.int64)
    most = _largest(x0, row, D0, tl.zeros([BD], tl.float32), BD)
    if N > 1:
        most = _largest(x1, row, D1, most, BD)
    if N > 2:
        most = _largest(x2, row, D2, most, BD)
    scale = tl.maximum(tl.max(most), 1e-12) / LIMIT
    tl.store(scales + row, scale)
    place = out + row * (D0 + D1 + D2)
    _round(x0, place, row, D0, scale, BD)
    if N > 1:
        _round(x1, place + D0, row, D1, scale, BD)
    if N > 2:
        _round(x2, place + D0 + D1, row, D2, scale, BD)


def check_card(device: str) -> None:
    """Refuse a card that does not multiply so."""
    found = torch.cuda.get_device_capability(device)
    if found < OLDEST:
        raise UserError(
            f"train.base_precision is fp8, and {torch.cuda.get_device_name(device)} has compute "
            f"capability {found[0]}.{found[1]}, where {OLDEST[0]}.{OLDEST[1]} is needed; set "
            f"train.base_precision to bf16, or take an H100 or newer"
        )


def quantize(tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """(T, sum of widths) in FP8 and (T, 1) scales, of up to three tensors (T, width)."""
    tokens = tensors[0].shape[0]
    widths = [tensor.shape[1] for tensor in tensors]
    out = tensors[0].new_empty(tokens, sum(widths), dtype=torch.float8_e4m3fn)
    scales = tensors[0].new_empty(tokens, 1, dtype=torch.float32)
    missing = 3 - len(tensors)
    quantize_kernel[(tokens,)](
        *tensors, *[tensors[0]] * missing, out, scales, tokens, *widths, *[0] * missing,
        LIMIT=LARGEST, N=len(tensors), BD=min(4096, triton.next_power_of_2(max(widths))),
        num_warps=8,
    )  # fmt: skip
    return out, scales


def product(
    x: tuple[torch.Tensor, torch.Tensor], weight: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """x weight^T in bfloat16, of (T, d) and (n, d) in FP8 with their scales."""
    return torch._scaled_mm(
        x[0], weight[0].t(), scale_a=x[1], scale_b=weight[1].view(1, -1),
        out_dtype=torch.bfloat16, use_fast_accum=True,
    )  # fmt: skip


class Fp8Weights:
    """The frozen weights of layers that read the same input."""

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        """Round (d_out, d_in) weights on the card."""
        self.forward = [quantize([weight]) for weight in weights]
        # one product for the gradients of all, beside each other
        self.backward = quantize([weight.t().contiguous() for weight in weights])

    def outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The products of all layers, (T, d_out) each, of x (T, d_in)."""
        rounded = quantize([x])
        return [product(rounded, weight) for weight in self.forward]

    def gradient(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """The input's gradient, (T, d_in)."""
        return product(quantize(list(gradients)), self.backward)
