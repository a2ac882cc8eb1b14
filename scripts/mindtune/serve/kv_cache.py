"""How many tokens the KV cache of a served model holds: computed from its config, and read from
what the engine says.

A token keeps a key and a value in every layer: 2 x layers x key-value heads x head size x bytes of
a value. LMDeploy gives the cache a share of the memory that is free once the weights are loaded
(`cache_max_entry_count`), so the budget is

    tokens = share x (card - weights) / bytes a token

The engine also needs room for its activations and CUDA graphs, so it reports somewhat fewer.

`memory_gib` bounds what the server holds of a card in all: then the share is what that leaves
beside weights and activations, if it is less.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.card_memory import card_memory
from mindtune.cli import UserError
from mindtune.model_shape import key_value_width, weight_bytes
from mindtune.records import read_json
from mindtune.tensors import DTYPES

GIB = 2**30
# What LMDeploy held of an H100 beside weights and cache: 1.8 GB at its start, 3.0 GB with 128
# requests at once (docs/h100/serve-engines.json)
BESIDE_BYTES = 3 * GIB


def bytes_per_token(config: Mapping[str, Any]) -> int:
    """Bytes that one token keeps in the cache of a model with this config.json."""
    _, value = DTYPES[config.get("dtype") or config["torch_dtype"]]
    return 2 * config["num_hidden_layers"] * key_value_width(config) * value


def cache_share(model: Path, engine: Mapping[str, Any], cards: Sequence[tuple[int, int]]) -> float:
    """The share of the free memory that the cache gets; `cards` as `card_memory` gave them before
    the server started. A UserError if `memory_gib` leaves no room for one whole session.
    """
    limit, weights = engine.get("memory_gib"), weight_bytes(model) / engine["tp"]
    if limit is None:
        return engine["cache_max_entry_count"]
    if len(cards) < engine["tp"]:
        raise UserError(
            f"serve.memory_gib is {limit} and this process sees {len(cards)} card(s) where "
            f"serve.tp wants {engine['tp']}; run this where the cards are, or remove memory_gib"
        )
    session = bytes_per_token(read_json(model / "config.json")) * engine["session_len"]
    room, needed = limit * GIB - weights - BESIDE_BYTES, session / engine["tp"]
    if room < needed:
        least = (weights + BESIDE_BYTES + needed) / GIB
        raise UserError(
            f"serve.memory_gib is {limit}, and weights, activations and one session of "
            f"{engine['session_len']} tokens take {least:.1f} GiB of a card; set at least that, or "
            "lower serve.session_len"
        )
    free = min(total - used for total, used in cards[: engine["tp"]]) - weights
    return min(engine["cache_max_entry_count"], room / max(free, room))


def within_memory(model: Path, engine: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's settings with the share that `memory_gib` leaves on the cards of this moment."""
    if engine.get("memory_gib") is None:
        return dict(engine)
    return {**engine, "cache_max_entry_count": cache_share(model, engine, card_memory())}


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
    tokens = max(0, int(cache_share(model, engine, cards) * free) // per_token)
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
