"""Triton kernels of the LoRA sum with dropout: what passes over the activations, each once.

A dropout mask is never stored. Whether a number is kept follows from a seed and from where it
stands, so that the backward pass computes the same mask again, in whatever tiles it works. Every
row of an adapter's input has a generator of its own, SplitMix with 32 bits (Steele, Lea and Flood,
Fast Splittable Pseudorandom Number Generators, OOPSLA 2014): the number of column c is mix(key + c
* step), with an odd step of the row's own. `mix` is lowbias32 of hash-prospector (Wellons, 2018).

Rows are tokens. No kernel adds with atomics, so two runs give the same bytes: where a sum is split
over programs, each writes its part and a second pass adds the parts in one order.
"""

import triton
import triton.language as tl


@triton.jit
def mixed(value):
    """A 32-bit number in which every bit of the value changes half of all bits."""
    value ^= value >> 16
    value *= 0x7FEB352D
    value ^= value >> 15
    value *= 0x846CA68B
    return value ^ (value >> 16)


@triton.jit
def generators(seed, stream, rows):
    """Key and odd step of every row's generator, of one adapter."""
    low, high = (seed & 0xFFFFFFFF).to(tl.uint32), (seed >> 32).to(tl.uint32)
    key = mixed(mixed(mixed(rows.to(tl.uint32) + low) ^ high) ^ stream)
    return key, mixed(key ^ high) | 1


@triton.jit
def kept(key, step, columns, threshold):
    """[rows, columns] of booleans: which numbers of a tile stay."""
    numbers = mixed(key[:, None] + columns[None, :].to(tl.uint32) * step[:, None])
    return numbers >= threshold.to(tl.uint32)


@triton.jit
def _chosen(number, first, second, third, N: tl.constexpr):
    """One of up to three pointers."""
    pointer = first
    if N > 1:
        pointer = tl.where(number == 1, second, pointer)
    if N > 2:
        pointer = tl.where(number == 2, third, pointer)
    return pointer


@triton.jit(do_not_specialize=["seed", "T"])
def shrink_kernel(
    x, a0, a1, a2, parts, seed, threshold, T, D, R,
    N: tl.constexpr, RP: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
    SPLIT: tl.constexpr, DROPS: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """parts[s, n, t, r] = sum over the s-th share of the columns of dropout_n(x)[t, :] a_n[r, :],
    without the factor 1/(1 - share).
    """
    number = tl.program_id(0) % N
    split = tl.program_id(0) // N
    row = tl.program_id(1) * BT
    rows = row + tl.arange(0, BT)
    ranks = tl.arange(0, RP)
    a = _chosen(number, a0, a1, a2, N)
    key, step = generators(seed, number, rows)
    total = tl.zeros([BT, RP], tl.float32)
    share = tl.cdiv(tl.cdiv(D, BD), SPLIT) * BD
    for column in range(split * share, min(split * share + share, D), BD):
        columns = column + tl.arange(0, BD)
        tile = tl.load(
            x + rows[:, None].to(tl.int64) * D + columns[None, :],
            mask=(rows < T)[:, None] & (columns < D)[None, :], other=0.0,
        )  # fmt: skip
        if DROPS:
            tile = tl.where(kept(key, step, columns, threshold), tile, 0.0)
        weights = tl.load(
            a + ranks[None, :] * D + columns[:, None],
            mask=(ranks < R)[None, :] & (columns < D)[:, None], other=0.0,
        ).to(tile.dtype)  # fmt: skip
        total = tl.dot(tile, weights, total, input_precision="ieee" if EXACT else "tf32")
    out = parts + ((split * N + number) * T + rows[:, None]).to(tl.int64) * R + ranks[None, :]
    tl.store(out, total, mask=(rows < T)[:, None] & (ranks < R)[None, :])


@triton.jit(do_not_specialize=["T"])
def expand_kernel(
    h, b, bias, out, T, D, R,
    RP: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr, BIASED: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """out[t, d] += sum over r of h[t, r] b[d, r], and a bias."""
    column, row = tl.program_id(0) * BD, tl.program_id(1) * BT
    rows, columns, ranks = row + tl.arange(0, BT), column + tl.arange(0, BD), tl.arange(0, RP)
    few = tl.load(
        h + rows[:, None] * R + ranks[None, :],
        mask=(rows < T)[:, None] & (ranks < R)[None, :], other=0.0,
    )  # fmt: skip
    weights = tl.load(
        b + columns[None, :] * R + ranks[:, None],
        mask=(columns < D)[None, :] & (ranks < R)[:, None], other=0.0,
    ).to(few.dtype)  # fmt: skip
    total = tl.dot(few, weights, input_precision="ieee" if EXACT else "tf32")
    inside = (rows < T)[:, None] & (columns < D)[None, :]
    place = out + rows[:, None].to(tl.int64) * D + columns[None, :]
    total += tl.load(place, mask=inside, other=0.0).to(tl.float32)
    if BIASED:
        total += tl.load(bias + columns, mask=columns < D, other=0.0)[None, :].to(tl.float32)
    tl.store(place, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["T"])
def collect_kernel(
    d, h, b, few, wide, T, D, R,
    RP: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr, SHARE: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Of the gradient d (T, D) of an output: few[c, t, r], parts of d b, one a block of columns;
    wide[s, r, d], parts of the transpose of h times d, one for each SHARE blocks of rows.
    """
    block, split = tl.program_id(0), tl.program_id(1)
    columns, ranks = block * BD + tl.arange(0, BD), tl.arange(0, RP)
    weights = tl.load(
        b + columns[:, None] * R + ranks[None, :],
        mask=(columns < D)[:, None] & (ranks < R)[None, :], other=0.0,
    ).to(d.dtype.element_ty)  # fmt: skip
    total = tl.zeros([RP, BD], tl.float32)
    first = split * SHARE * BT
    for row in range(first, min(first + SHARE * BT, T), BT):
        rows = row + tl.arange(0, BT)
        tile = tl.load(
            d + rows[:, None].to(tl.int64) * D + columns[None, :],
            mask=(rows < T)[:, None] & (columns < D)[None, :], other=0.0,
        )  # fmt: skip
        scores = tl.load(
            h + rows[None, :] * R + ranks[:, None],
            mask=(rows < T)[None, :] & (ranks < R)[:, None], other=0.0,
        )  # fmt: skip
        total = tl.dot(scores, tile, total, input_precision="ieee" if EXACT else "tf32")
        part = tl.dot(tile, weights, input_precision="ieee" if EXACT else "tf32")
        tl.store(
            few + (block * T + rows[:, None]).to(tl.int64) * R + ranks[None, :],
            part, mask=(rows < T)[:, None] & (ranks < R)[None, :],
        )  # fmt: skip
    out = wide + (split * R + ranks[:, None]).to(tl.int64) * D + columns[None, :]
    tl.store(out, total, mask=(ranks < R)[:, None] & (columns < D)[None, :])


@triton.jit
def _spread(
    tile, gradient, d, a, number, seed, threshold, scale, row, column, T, D, R, total,
    RP: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr, DROPS: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """What one adapter adds to the gradient of x, and to the gradient of its own a."""
    rows, columns = row + tl.arange(0, BT), column + tl.arange(0, BD)
    ranks = tl.arange(0, RP)
    few = tl.load(
        d + (number * T + rows[:, None]).to(tl.int64) * R + ranks[None, :],
        mask=(rows < T)[:, None] & (ranks < R)[None, :], other=0.0,
    )  # fmt: skip
    weights = tl.load(
        a + ranks[:, None] * D + columns[None, :],
        mask=(ranks < R)[:, None] & (columns < D)[None, :], other=0.0,
    ).to(tile.dtype)  # fmt: skip
    back = tl.dot(few, weights, input_precision="ieee" if EXACT else "tf32") * scale
    if DROPS:
        key, step = generators(seed, number, rows)
        keep = kept(key, step, columns, threshold)
        tile = tl.where(keep, tile, 0.0)
        back = tl.where(keep, back, 0.0)
    total = tl.dot(tl.trans(few), tile, total, input_precision="ieee" if EXACT else "tf32")
    return gradient + back, total


@triton.jit(do_not_specialize=["seed", "T"])
def spread_kernel(
    x, dx, d, a0, a1, a2, parts, seed, threshold, scale, T, D, R,
    N: tl.constexpr, RP: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr, SHARE: tl.constexpr,
    DROPS: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Add to dx (T, D) what all adapters give, scale * mask_n (d_n a_n); parts[s, n, r, :] of d_n^T
    dropout_n(x), without the factor; d is (N, T, R).
    """
    column, split = tl.program_id(0) * BD, tl.program_id(1)
    columns, ranks = column + tl.arange(0, BD), tl.arange(0, RP)
    total0 = tl.zeros([RP, BD], tl.float32)
    total1 = tl.zeros([RP, BD], tl.float32)
    total2 = tl.zeros([RP, BD], tl.float32)
    first = split * SHARE * BT
    for row in range(first, min(first + SHARE * BT, T), BT):
        rows = row + tl.arange(0, BT)
        inside = (rows < T)[:, None] & (columns < D)[None, :]
        offsets = rows[:, None].to(tl.int64) * D + columns[None, :]
        tile = tl.load(x + offsets, mask=inside, other=0.0)
        gradient = tl.load(dx + offsets, mask=inside, other=0.0).to(tl.float32)
        gradient, total0 = _spread(
            tile, gradient, d, a0, 0, seed, threshold, scale, row, column, T, D, R, total0,
            RP, BT, BD, DROPS, EXACT,
        )  # fmt: skip
        if N > 1:
            gradient, total1 = _spread(
                tile, gradient, d, a1, 1, seed, threshold, scale, row, column, T, D, R, total1,
                RP, BT, BD, DROPS, EXACT,
            )  # fmt: skip
        if N > 2:
            gradient, total2 = _spread(
                tile, gradient, d, a2, 2, seed, threshold, scale, row, column, T, D, R, total2,
                RP, BT, BD, DROPS, EXACT,
            )  # fmt: skip
        tl.store(dx + offsets, gradient.to(dx.dtype.element_ty), mask=inside)
    inside = (ranks < R)[:, None] & (columns < D)[None, :]
    place = parts + (split * N * R + ranks[:, None]).to(tl.int64) * D + columns[None, :]
    tl.store(place, total0, mask=inside)
    tl.store(place + R * D, total1, mask=inside & (N > 1))
    tl.store(place + 2 * R * D, total2, mask=inside & (N > 2))
