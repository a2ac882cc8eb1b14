"""Packed dialogues must not see each other: their logits must be those that each dialogue has
alone.

Looked at with two layers of random weights in the base model's shape, on the device and with the
attention implementation of the training, in the trainer's own process before it loads the model:
imports and compiled kernels are paid once.
"""

from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.safe_loading import load_config, random_model
from mindtune.train.micro_batch import pack_batch

LENGTHS = (37, 64, 11)
# Share of the logits' own spread; rounding alone was seen to give 1e-6 in float32, and a broken
# mask gives more than 0.3
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}


def dialogues(vocabulary: int) -> list[dict[str, Any]]:
    """Rows of arbitrary tokens."""
    rows = []
    for number, length in enumerate(LENGTHS):
        ids = [(7919 * (number + 1) * (place + 1)) % vocabulary for place in range(length)]
        rows.append({"input_ids": ids, "labels": ids, "length": length, "dialogue": str(number)})
    return rows


def difference(model: Any, rows: list[dict[str, Any]], flash: bool) -> float:
    """Largest difference of a logit between packed and alone, in standard deviations of the
    logits.
    """
    import torch

    def logits(packed: list[dict[str, Any]]) -> Any:
        batch = pack_batch([packed], flash)
        del batch["dialogues"], batch["lengths"], batch["labels"], batch["logits_to_keep"]
        batch = {
            name: part.to(model.device) if hasattr(part, "to") else part
            for name, part in batch.items()
        }
        with torch.no_grad():
            return model(**batch, use_cache=False).logits[0].float()

    alone = torch.cat([logits([row]) for row in rows])
    return float((logits(rows) - alone).abs().max() / alone.std())


def build(folder: Path, attention: str, device: str, dtype: str) -> Any:
    """Two layers of the base model's shape with random weights."""
    import torch

    config = load_config(folder)
    config.num_hidden_layers = 2
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:2]
    config._attn_implementation = attention
    torch.manual_seed(0)
    with torch.device(device):
        return random_model(config, getattr(torch, dtype)).eval()


def check_isolation(model: str, attention: str, device: str, dtype: str) -> None:
    """Refuse an attention implementation that mixes the dialogues of a pack; `model` is the base
    model's folder, `device` a torch name.

    The random generators are as before afterwards, and the memory is free again.
    """
    import torch

    on_gpu = device != "cpu"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        small = build(Path(model), attention, device, dtype)
        found = difference(small, dialogues(small.config.vocab_size), "flash" in attention)
    del small
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    print(
        f"packed and alone differ by {found:.2g} standard deviations of the logits ({attention}, "
        f"{dtype})",
        flush=True,
    )
    if not found <= TOLERANCE[dtype]:
        raise UserError(
            f"with train.attention {attention} packed dialogues see each other: their logits "
            f"differ by {found:.2g} standard "
            f"deviations from those of each dialogue alone, and {TOLERANCE[dtype]} is allowed; "
            f"choose another "
            "train.attention, or set train.packing to false"
        )
