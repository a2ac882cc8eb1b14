"""What a training needs of its node, refused in seconds, before a model is loaded. What takes torch
to see, the trainer's process refuses.
"""

import sys
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from mindtune.card_memory import card_memory
from mindtune.cli import UserError
from mindtune.preflight import check_compiler, check_driver, check_node
from mindtune.train.memory import checkpoint_bytes, fixed_bytes


def preflight(settings: dict[str, Any], model: dict[str, Any], state_root: Path) -> None:
    """Refuse in seconds what would fail after the model is loaded; what takes torch to see, the
    trainer's process refuses.
    """
    check_node(state_root, checkpoint_bytes(model, settings) * (settings["save_total_limit"] + 1))
    if settings["device"] == "gpu":
        check_driver(settings["gpus"])
        check_compiler()
        check_memory(smallest_card(), settings, model)


@cache
def smallest_card() -> int:
    """Bytes of the smallest card's memory; asked of the driver, because torch takes seconds to
    import.
    """
    return min(total for total, _ in card_memory())


def add_quantizer(folder: Path | None) -> list[str]:
    """Put the quantiser's folder at the end of the import path; return its packages' names. Not
    there at all: a UserError.
    """
    sys.path += [str(folder)] if folder else []
    if not util.find_spec("bitsandbytes"):
        raise UserError(
            f"train.method is qlora, and bitsandbytes is neither in {folder} nor in this "
            f"environment; "
            "build it with envs/qlora.lock (snakemake does so), or take another method"
        )
    return ["bitsandbytes"]


def check_memory(card: int, settings: dict[str, Any], model: dict[str, Any]) -> None:
    """The card's memory, in bytes, holds the weights and something to compute with."""
    needed = fixed_bytes(model, settings)
    if needed > 0.9 * card:
        raise UserError(
            f"the card has {card / 2**30:.0f} GiB, and train.method {settings['method']} takes "
            f"{needed / 2**30:.0f} GiB for this base in "
            f"{settings['dtype']} before the first token; use a larger card, a smaller model or "
            f"another method"
        )
