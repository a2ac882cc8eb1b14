"""Models of published shapes with random weights: for measurements on a machine that cannot fetch
the real ones.
"""

from collections.abc import Mapping
from typing import Any

QWEN = {
    "vocab_size": 152064, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 151643, "eos_token_id": 151645,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}  # fmt: skip
SHAPES = {
    "qwen2.5-0.5b": {
        **QWEN, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
    },
    "qwen2.5-7b": {
        **QWEN, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
}  # fmt: skip


def random_model(shape: Mapping[str, Any], device: str) -> Any:
    """A Qwen2 of a shape with random weights of a trained model's statistics, rounded to bfloat16.

    Outputs keep the size of their inputs, what goes to the residual stream is divided by the root
    of the number of its summands, rows differ in size, norms lie around 1, queries and keys have
    biases.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2ForCausalLM(Qwen2Config(**shape))
    layers = shape["num_hidden_layers"]
    for name, value in model.named_parameters():
        part = name.split(".")[-2]
        with torch.no_grad():
            if name.endswith("bias"):
                value.normal_(std=0.5 if part in ("q_proj", "k_proj") else 0.05)
            elif "norm" in part:
                value.normal_(1, 0.3)
            elif part == "embed_tokens":
                value.normal_(std=0.3)
            else:
                rows = torch.empty(value.shape[0], 1, device=value.device).normal_(std=0.3).exp_()
                value.normal_(std=value.shape[1] ** -0.5).mul_(rows)
                value.div_((2 * layers) ** 0.5 if part in ("o_proj", "down_proj") else 1)
            value.copy_(value.to(torch.bfloat16))
    return model
