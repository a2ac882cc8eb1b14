"""The choice of micro-batch and recompute: the effective batch never changes, and the estimate is
what was measured.
"""

import pytest
from mindtune.model_shape import key_value_width, weights
from mindtune.train.memory import activation_bytes, checkpoint_bytes, choose, fixed_bytes

QWEN7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
# the published config of Qwen3-4B-Instruct-2507: 32 heads of 128 in a hidden size of 2560
QWEN3_4B = {
    "model_type": "qwen3",
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
SETTINGS = {
    "method": "lora",
    "memory": "auto",
    "kernels": "fast",
    "base_precision": "bf16",
    "device": "gpu",
    "dtype": "bfloat16",
    "max_length": 3072,
    "lora": {"rank": 8, "dropout": 0.1},
    "batch_size": 8,
    "grad_accumulation": 4,
    "gradient_checkpointing": True,
}
GIB = 2**30


def test_weights_of_the_published_model():
    assert weights(QWEN7B) == 7_615_616_512


def test_a_head_may_be_wider_than_its_share_of_the_hidden_size():
    assert weights(QWEN3_4B) == 4_022_468_096  # "4.0B", as its page counts them
    assert key_value_width(QWEN3_4B) == 1024
    # rank x (in + out) of the seven matrices, and two moments of each, in 32 bits
    matrices = 2 * (2560 + 4096) + 2 * (2560 + 1024) + 3 * (2560 + 9728)
    assert checkpoint_bytes(QWEN3_4B, SETTINGS) == 12 * 8 * 36 * matrices


@pytest.mark.parametrize("kind", ["Qwen2", "Qwen3", "Llama"])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_those_of_the_library(kind, tied):
    import transformers
    from families import SIZES

    wide = {"head_dim": 32} if kind == "Qwen3" else {}
    config = getattr(transformers, f"{kind}Config")(
        **SIZES, **wide, vocab_size=512, tie_word_embeddings=tied
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    assert weights(config.to_dict()) == model.num_parameters()


@pytest.mark.parametrize(("rank", "gib"), [(8, 40.2), (128, 51.7)])
def test_the_estimate_is_what_a_card_showed(rank, gib):
    # two sequences of 3,072 tokens without recompute, by the kernels (docs/h100/chain.json) and by
    # the formula (docs/h100/train-side-by-side.json, where it took rank 8)
    settings = {**SETTINGS, "lora": {"rank": rank, "dropout": 0.1}}
    estimate = 2 * weights(QWEN7B) + 2 * 3072 * activation_bytes(QWEN7B, settings)
    assert estimate / GIB == pytest.approx(gib, rel=0.05)


@pytest.mark.parametrize(
    ("gib", "size", "recompute"), [(24, 8, True), (48, 1, False), (79, 2, False), (139, 4, False)]
)
def test_the_card_decides(gib, size, recompute):
    chosen, reason = choose(QWEN7B, SETTINGS, gib * GIB)
    assert chosen["batch_size"] == size and chosen["gradient_checkpointing"] is recompute
    assert chosen["batch_size"] * chosen["grad_accumulation"] == 32
    assert f"micro-batch {size} x accumulation {32 // size}" in reason


def test_a_base_in_4_bits_leaves_room_for_more():
    chosen, _ = choose(QWEN7B, {**SETTINGS, "method": "qlora"}, 79 * GIB)
    assert (chosen["batch_size"], chosen["gradient_checkpointing"]) == (4, False)


def test_an_odd_effective_batch_is_kept():
    chosen, _ = choose(QWEN7B, {**SETTINGS, "batch_size": 3, "grad_accumulation": 5}, 139 * GIB)
    assert chosen["batch_size"] * chosen["grad_accumulation"] == 15 and chosen["batch_size"] == 1


@pytest.mark.parametrize(
    ("change", "card"),
    [
        ({"memory": "fixed"}, 79),
        ({"kernels": "plain"}, 79),
        ({}, None),
        ({"method": "dora"}, 79),
    ],
)
def test_what_is_taken_as_configured(change, card):
    chosen, reason = choose(QWEN7B, {**SETTINGS, **change}, card and card * GIB)
    assert chosen == {"batch_size": 8, "grad_accumulation": 4, "gradient_checkpointing": True}
    assert "as configured" in reason


def test_what_a_method_takes_before_the_first_token():
    taken = {
        method: fixed_bytes(QWEN7B, SETTINGS | {"method": method})
        for method in ("lora", "dora", "qlora", "full")
    }
    assert taken["lora"] == taken["dora"] == 2 * weights(QWEN7B)
    # QLoRA's paper: 4.127 bits a weight; embeddings and head (1.09 billion weights) stay in 16 bits
    assert taken["qlora"] == pytest.approx(4.127 / 8 * 6.525e9 + 2 * 1.09e9, rel=1e-3)
    assert taken["full"] == 8 * weights(QWEN7B)
    assert checkpoint_bytes(QWEN7B, SETTINGS | {"method": "full"}) == 6 * weights(QWEN7B)


def test_a_checkpoint_of_the_seeds_adapter():
    # 20.2 million weights at rank 8 in all linear layers, and two moments of each, in 32 bits
    assert checkpoint_bytes(QWEN7B, SETTINGS) == 12 * 20_185_088
