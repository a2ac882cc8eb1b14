"""One micro-batch of packed dialogues, with everything that the model would otherwise compute on
the GPU and wait for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

IGNORED = -100  # label of a token that is not trained


def pack_batch(packs: Sequence[Sequence[Mapping[str, Any]]], flash: bool) -> dict[str, Any]:
    """One micro-batch (1, T) of packs: ids, position ids that restart with every dialogue, the
    trained labels and where they are.

    Only trained positions reach the output layer: `logits_to_keep` are their predecessors and the
    last position, `labels` one ignored label and the trained ones, as ms-swift's own
    prepare_logits_to_keep makes them on the GPU, with a wait. `flash`: also the borders and the
    longest dialogue in the form that FlashAttention takes: int32 and a plain int.
    """
    import torch

    rows = [row for pack in packs for row in pack]
    lengths = numpy.array([row["length"] for row in rows])
    borders = numpy.concatenate([[0], numpy.cumsum(lengths)])
    labels = numpy.concatenate([numpy.asarray(row["labels"], dtype=numpy.int64) for row in rows])
    labels[borders[:-1]] = (
        IGNORED  # a dialogue's first token has no predecessor to be predicted from
    )
    trained = numpy.flatnonzero(labels != IGNORED)
    batch: dict[str, Any] = {
        "input_ids": torch.from_numpy(
            numpy.concatenate([numpy.asarray(row["input_ids"], dtype=numpy.int64) for row in rows])
        )[None],
        "position_ids": torch.from_numpy(
            numpy.concatenate([numpy.arange(length) for length in lengths])
        )[None],
        "labels": torch.from_numpy(numpy.concatenate([[IGNORED], labels[trained]]))[None],
        "logits_to_keep": torch.from_numpy(numpy.append(trained - 1, len(labels) - 1)),
        "dialogues": [[row["dialogue"] for row in pack] for pack in packs],
        "lengths": [[row["length"] for row in pack] for pack in packs],
    }
    if flash:
        batch["cu_seq_lens_q"] = batch["cu_seq_lens_k"] = torch.from_numpy(
            borders.astype(numpy.int32)
        )
        batch["max_length_q"] = batch["max_length_k"] = int(lengths.max())
    return batch
