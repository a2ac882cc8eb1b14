"""The cache of keys and values: bytes of a token, the budget, and what the engine reports."""

import json
import os

import pytest
from engines import GPU_ENGINE
from mindtune.card_memory import MIB, card_memory
from mindtune.cli import UserError
from mindtune.serve.engine_settings import check_engine, lmdeploy_command
from mindtune.serve.kv_cache import (
    BESIDE_BYTES,
    GIB,
    bytes_per_token,
    cache_share,
    kv_budget,
    reported_tokens,
)

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


WEIGHTS = 15_231_271_776
# Two cards of which the first is another job's, as nvidia-smi would list them
DRIVER_DOUBLE = """#!/bin/sh
printf '0, GPU-11aa, 81559, 70000\\n1, GPU-22bb, 81559, 0\\n'
"""


def write_model(folder):
    """A folder whose config and size of weights are those of Qwen2.5-7B; the file is a hole."""
    (folder / "config.json").write_text(json.dumps(QWEN_7B))
    (folder / "model.safetensors").write_bytes(b"")
    os.truncate(folder / "model.safetensors", WEIGHTS)


def test_the_budget_is_a_share_of_what_the_weights_leave(tmp_path):
    write_model(tmp_path)
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


@pytest.mark.parametrize("limit", [18, 20, 40])
def test_a_bound_in_gib_holds_weights_activations_and_cache(tmp_path, limit):
    write_model(tmp_path)
    engine, card = {**GPU_ENGINE, "session_len": 4096, "memory_gib": limit}, (143_771 * MIB, 0)
    check_engine(engine)
    budget = kv_budget(tmp_path, engine, [card])
    held = WEIGHTS + BESIDE_BYTES + budget["budget_bytes"]
    assert limit * GIB - 4096 * 57_344 < held <= limit * GIB
    assert budget["budget_sessions"] >= 1
    # half of the card is another's: the same cache is a larger share of what is left
    assert cache_share(tmp_path, engine, [(card[0], card[0] // 2)]) > cache_share(
        tmp_path, engine, [card]
    )
    assert cache_share(tmp_path, engine | {"memory_gib": None}, [card]) == 0.8
    assert cache_share(tmp_path, engine | {"memory_gib": 500}, [card]) == 0.8


def test_a_bound_without_room_for_a_session_is_refused_with_the_least_that_does(tmp_path):
    write_model(tmp_path)
    engine, cards = {**GPU_ENGINE, "session_len": 4096, "memory_gib": 16}, [(143_771 * MIB, 0)]
    with pytest.raises(UserError, match=r"session of 4096 tokens take 17\.4 GiB"):
        cache_share(tmp_path, engine, cards)
    assert cache_share(tmp_path, engine | {"memory_gib": 17.5}, cards) > 0
    with pytest.raises(UserError, match=r"sees 0 card\(s\) where serve.tp wants 1"):
        cache_share(tmp_path, engine, [])
    with pytest.raises(UserError, match="memory_gib is '20'"):
        check_engine(engine | {"memory_gib": "20"})


def test_the_command_has_the_share_of_the_card_that_this_job_sees(tmp_path, monkeypatch):
    write_model(tmp_path)
    driver = tmp_path / "nvidia-smi"
    driver.write_text(DRIVER_DOUBLE)
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    taken, free = (81_559 * MIB, 70_000 * MIB), (81_559 * MIB, 0)
    engine = {**GPU_ENGINE, "session_len": 4096, "memory_gib": 20}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert card_memory() == [taken, free]
    for setting, seen in (("GPU-22", [free]), ("1,0", [free, taken]), ("-1", []), ("1", [free])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
        assert card_memory() == seen
    command = lmdeploy_command(tmp_path, engine, 23333)
    share = float(command[command.index("--cache-max-entry-count") + 1])
    assert share == cache_share(tmp_path, engine, [free]) < 0.1
