"""Sizes of a model, from its config.json: Qwen2, Qwen3, Llama and what is built like them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def head_width(model: Mapping[str, Any]) -> int:
    """Numbers in one attention head: a key of its own in some configs (Qwen3), else a share of the
    hidden size.
    """
    return model.get("head_dim") or model["hidden_size"] // model["num_attention_heads"]


def query_width(model: Mapping[str, Any]) -> int:
    """Numbers in the queries of a token, and in attention's result."""
    return head_width(model) * model["num_attention_heads"]


def key_value_width(model: Mapping[str, Any]) -> int:
    """Numbers in the keys of a token, and in its values."""
    heads = model.get("num_key_value_heads") or model["num_attention_heads"]
    return head_width(model) * heads


def weights(model: Mapping[str, Any]) -> int:
    """Number of weights. Qwen2 adds biases to queries, keys and values; Qwen3 norms its heads."""
    hidden, inner = model["hidden_size"], model["intermediate_size"]
    queries, keys = query_width(model), key_value_width(model)
    layer = hidden * (2 * queries + 2 * keys + 3 * inner) + 2 * hidden
    kind = model.get("model_type", "qwen2")
    if kind == "qwen2":
        layer += queries + 2 * keys
    elif kind == "qwen3":
        layer += 2 * head_width(model)
    ends = (1 if model["tie_word_embeddings"] else 2) * model["vocab_size"] * hidden
    return model["num_hidden_layers"] * layer + ends + hidden


def weight_bytes(folder: Path) -> int:
    """Bytes of a model folder's safetensors files."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
