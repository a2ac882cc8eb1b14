"""The packing plan of ms-swift 4.6.0, computed from token lengths alone, and what it means for
steps.

Strategy `binpack` with one process: lengths go through best-fit-decreasing bin packing
(https://arxiv.org/abs/2404.10830, package `binpacking`) in batches of 1,000; the last bin of every
batch but the final one is carried into the next. The order of the lengths decides the result, so
they must be given in the order in which the trainer reads them: the cached data set's.
"""

import math
from collections.abc import Sequence

from mindtune.cli import UserError

BATCH = 1000  # swift.dataset.packing.PackingDataset.PACKING_BATCH_SIZE


def packs(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the packs as lists of row indices, in the trainer's order; `lengths` and `capacity`
    count tokens.
    """
    import binpacking

    longest = max(lengths, default=0)
    if longest > capacity:
        raise UserError(
            f"a dialogue of {longest} tokens exceeds train.max_length {capacity}; the trainer "
            f"would drop it, clean again"
        )
    result: list[list[int]] = []
    carried: list[tuple[int, int]] = []
    for start in range(0, len(lengths), BATCH):
        batch = carried + list(enumerate(lengths[start : start + BATCH], start))
        bins = binpacking.to_constant_volume(batch, capacity, weight_pos=1)
        last_batch = start + BATCH >= len(lengths)
        carried = [] if last_batch else bins.pop()
        result += [[row for row, _ in bin_] for bin_ in bins]
    return result


def one_row_each(lengths: Sequence[int]) -> list[list[int]]:
    """The plan of an unpacked run: every row is a sequence of its own."""
    return [[row] for row in range(len(lengths))]


def steps_per_epoch(sequences: int, batch_size: int, grad_accumulation: int, gpus: int = 1) -> int:
    """Optimizer steps of one epoch; the last batch and the last accumulation may be short, as in
    transformers' trainer.
    """
    return math.ceil(math.ceil(sequences / (batch_size * gpus)) / grad_accumulation)
