"""The cache of keys and values: bytes of a token, the budget, and what the engine reports."""

import json
import os

from engines import GPU_ENGINE
from mindtune.serve.kv_cache import bytes_per_token, kv_budget, reported_tokens

QWEN_7B = {
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "dtype": "bfloat16",
}


def test_bytes_of_a_token_in_the_cache():
    assert bytes_per_token(QWEN_7B) == 2 * 28 * 4 * 128 * 2 == 57_344
    assert bytes_per_token({**QWEN_7B, "head_dim": 256}) == 2 * 57_344
    assert bytes_per_token({**QWEN_7B, "dtype": "float32"}) == 2 * 57_344


def test_the_budget_is_a_share_of_what_the_weights_leave(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B))
    (tmp_path / "model.safetensors").write_bytes(b"")
    os.truncate(tmp_path / "model.safetensors", 15_231_271_776)
    # an H100's memory as nvidia-smi gives it; LMDeploy's PyTorch engine reported 918,528 tokens
    # there
    budget = kv_budget(tmp_path, {**GPU_ENGINE, "session_len": 4096}, [(81_559 * 2**20, 0)])
    assert (budget["budget_tokens"], budget["budget_sessions"]) == (980_601, 239)
    assert budget["bytes_per_session"] == 4096 * 57_344
    two = kv_budget(tmp_path, {**GPU_ENGINE, "tp": 2}, [(81_559 * 2**20, 0)] * 4)
    assert two["card_bytes"] == 2 * budget["card_bytes"]
    small = kv_budget(tmp_path, GPU_ENGINE, [(12 * 2**30, 0)])
    assert small["budget_tokens"] == 0
    assert "budget_tokens" not in kv_budget(tmp_path, GPU_ENGINE, [])


def test_what_lmdeploy_reports_is_read_from_its_log(tmp_path):
    log = tmp_path / "server.log"
    log.write_text(
        "Building CacheEngine with config: \nCacheConfig(max_batches=1024, block_size=64, "
        "num_cpu_blocks=0, num_gpu_blocks=14352, kernel_block_size=64)\n"
    )
    assert reported_tokens(log) == 918_528
    log.write_text("[TM][INFO] nothing of blocks\n")
    assert reported_tokens(log) is None
