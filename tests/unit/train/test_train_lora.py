"""Before and after the trainer: what is refused in seconds, and what must add up."""

import json
from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.train import history, isolation, requirements, result

CACHED = Path("results/runs/rank16/cached")
QWEN7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}


def test_a_card_that_is_too_small_is_refused():
    settings = {"method": "lora", "dtype": "bfloat16"}
    requirements.check_memory(79 << 30, settings, QWEN7B)
    with pytest.raises(
        UserError,
        match="the card has 15 GiB, and train.method lora takes 14 GiB for this base in bfloat16",
    ):
        requirements.check_memory(15 << 30, settings, QWEN7B)
    requirements.check_memory(15 << 30, settings | {"method": "qlora"}, QWEN7B)
    with pytest.raises(UserError, match="train.method full takes 113 GiB for this base in float32"):
        requirements.check_memory(79 << 30, {"method": "full", "dtype": "float32"}, QWEN7B)


def test_a_repeated_step_counts_once_and_a_torn_line_never(tmp_path):
    lines = [{"step": 1, "rows": 3}, {"step": 2, "rows": 9}, {"step": 2, "rows": 4}]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "ro'
    (tmp_path / "steps.jsonl").write_text(text)
    assert history.steps_taken(tmp_path / "steps.jsonl") == [
        {"step": 1, "rows": 3},
        {"step": 2, "rows": 4},
    ]


def test_what_was_given_is_what_was_planned():
    lines = [{"rows": 3, "tokens": 90, "packs": 2}, {"rows": 3, "tokens": 90, "packs": 2}]
    planned = {"rows": 3, "tokens": 90, "packs": 2, "steps": 2}
    settings = {"epochs": 2, "batch_size": 1, "gpus": 1}
    assert history.reconcile(lines, planned, settings, CACHED) == {
        "rows": 6,
        "tokens": 180,
        "packs": 4,
        "steps": 2,
    }
    with pytest.raises(
        UserError,
        match="given 180 tokens and pack_stats planned 182.*delete results/runs/rank16/cached",
    ):
        history.reconcile(lines, {**planned, "tokens": 91}, settings, CACHED)


def test_several_gpus_may_repeat_packs_to_fill_their_last_round_and_no_more():
    planned = {"rows": 9, "tokens": 270, "packs": 6, "steps": 2}
    settings = {"epochs": 1, "batch_size": 1, "gpus": 4}
    given = [{"rows": 6, "tokens": 180, "packs": 4}, {"rows": 6, "tokens": 170, "packs": 4}]
    assert history.reconcile(given, planned, settings, CACHED)["packs"] == 8
    with pytest.raises(UserError, match="given 12 rows"):
        history.reconcile(given, planned, {**settings, "gpus": 1}, CACHED)
    with pytest.raises(UserError, match="given 12 rows"):
        history.reconcile([given[0], {**given[1], "packs": 5}], planned, settings, CACHED)


def test_the_best_checkpoint_is_that_of_the_lowest_dev_loss(tmp_path):
    for step in (2, 4, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
    last = tmp_path / "checkpoint-6"
    log = [{"step": step, "eval_loss": loss} for step, loss in ((2, 1.9), (4, 1.5), (6, 1.5))] + [
        {"step": 6, "loss": 1.0}
    ]
    assert result.kept_checkpoint(last, "last", log) == last
    assert result.kept_checkpoint(last, "best", log).name == "checkpoint-4"
    (tmp_path / "checkpoint-4").rmdir()
    with pytest.raises(
        UserError, match="checkpoint-4 has the lowest dev loss and is not there any more"
    ):
        result.kept_checkpoint(last, "best", log)


def test_energy_and_time():
    lines = [{"seconds": 1800.0, "tokens": 9000, "joules": 1.8e6, "memory_gib": 51.0}] * 2
    facts = history.cost(lines)
    assert (
        facts["gpu_hours"] == 1 and facts["kilowatt_hours"] == 1 and facts["tokens_per_second"] == 5
    )
    assert history.cost(lines, gpus=4)["gpu_hours"] == 4
    assert "gpu_hours" not in history.cost([{"seconds": 2.0, "tokens": 1}])


def test_the_first_step_of_every_start_is_left_out_of_the_second_speed():
    step = {"seconds": 10.0, "tokens": 1000, "joules": 1.0, "memory_gib": 1.0}
    first = step | {"seconds": 30.0, "after_start": {"first step": 50.0}}
    facts = history.cost([first, step, first, step])
    assert facts["tokens_per_second"] == 50
    assert facts["tokens_per_second_after_the_first_step"] == 100
    assert history.cost([first])["tokens_per_second_after_the_first_step"] is None


def test_a_broken_mask_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch):
    import torch
    from models import build_small_model

    folder = build_small_model(tmp_path / "small")
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    isolation.check_isolation(str(folder), "sdpa", "cpu", "float32")
    assert torch.equal(torch.rand(3), wanted), "the check moved the random generator"

    def naive(packs, flash):
        batch = pack(packs, flash)
        return {**batch, "position_ids": torch.arange(batch["input_ids"].shape[1])[None]}

    pack = isolation.pack_batch
    monkeypatch.setattr(isolation, "pack_batch", naive)
    with pytest.raises(
        UserError, match="with train.attention sdpa packed dialogues see each other"
    ):
        isolation.check_isolation(str(folder), "sdpa", "cpu", "float32")
    model = isolation.build(folder, "sdpa", "cpu", "float32")
    assert (
        isolation.difference(model, isolation.dialogues(model.config.vocab_size), flash=False) > 0.3
    )
