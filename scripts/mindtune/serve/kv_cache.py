"""How many tokens the KV cache of a served model holds: computed from its config, and read from
what the engine says.

A token keeps a key and a value in every layer: 2 x layers x key-value heads x head size x bytes of
a value. LMDeploy gives the cache a share of the memory that is free once the weights are loaded
(`cache_max_entry_count`), so the budget is

    tokens = share x (card - weights) / bytes a token

The engine also needs room for its activations and CUDA graphs, so it reports somewhat fewer.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.model_shape import key_value_width, weight_bytes
from mindtune.records import read_json
from mindtune.tensors import DTYPES

MIB = 2**20


def bytes_per_token(config: Mapping[str, Any]) -> int:
    """Bytes that one token keeps in the cache of a model with this config.json."""
    _, value = DTYPES[config.get("dtype") or config["torch_dtype"]]
    return 2 * config["num_hidden_layers"] * key_value_width(config) * value


def kv_budget(
    model: Path, engine: Mapping[str, Any], cards: list[tuple[int, int]]
) -> dict[str, Any]:
    """The budget of a model folder under the engine's settings; `cards` as `card_memory` gave them
    before the server started.

    Without a card there is no budget to compute, only what a token and a whole session cost.
    """
    per_token = bytes_per_token(read_json(model / "config.json"))
    weights = weight_bytes(model)
    facts: dict[str, Any] = {
        "bytes_per_token": per_token,
        "bytes_per_session": per_token * engine["session_len"],
        "weight_bytes": weights,
    }
    if not cards:
        return facts
    used = cards[: engine["tp"]]
    free = sum(total - taken for total, taken in used) - weights
    tokens = max(0, int(engine["cache_max_entry_count"] * free) // per_token)
    return facts | {
        "card_bytes": sum(total for total, _ in used),
        "budget_bytes": tokens * per_token,
        "budget_tokens": tokens,
        "budget_sessions": tokens // engine["session_len"],
    }


def reported_tokens(log: Path) -> int | None:
    """Tokens of the cache as LMDeploy's PyTorch engine reports them in its log; None if it says
    nothing.
    """
    text = log.read_text(encoding="utf-8", errors="replace")
    blocks, size = (
        re.findall(rf"\b{name}=(\d+)", text) for name in ("num_gpu_blocks", "block_size")
    )
    # the last words: the first were said before the memory was measured
    return int(blocks[-1]) * int(size[-1]) if blocks and size and int(blocks[-1]) else None
