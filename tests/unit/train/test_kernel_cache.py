"""Kernels that were compiled once are kept for later starts, apart for each kind of card."""

import pytest
from mindtune.train import trainer_process
from mindtune.train.swift import environment

ENABLED, FOLDER = (f"FLASH_ATTENTION_CUTE_DSL_CACHE_{word}" for word in ("ENABLED", "DIR"))


@pytest.fixture
def cards(monkeypatch, tmp_path):
    """Say what cards a driver names, on a machine that has none; in a working directory."""
    for name in (ENABLED, FOLDER):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def say(*names):
        monkeypatch.setattr(trainer_process, "read_nvml", lambda: {"names": list(names)})

    return say


def test_kernels_are_kept_in_the_working_directory_a_folder_for_each_kind_of_card(cards, tmp_path):
    cards("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")
    kept = trainer_process.kernel_cache("flash_attention_4")
    folder = tmp_path / ".cache/flash_attention/NVIDIA-H100-80GB-HBM3"
    assert kept == {ENABLED: "1", FOLDER: str(folder)}
    cards("NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3")
    assert trainer_process.kernel_cache("flash_attention_4")[ENABLED] == "0"
    assert not trainer_process.kernel_cache("sdpa")


def test_what_the_user_says_of_the_cache_stands_and_reaches_the_trainer(cards, monkeypatch):
    cards("NVIDIA H100 80GB HBM3")
    monkeypatch.setenv(ENABLED, "0")
    seen = environment(**trainer_process.kernel_cache("flash_attention_4"))
    assert seen[ENABLED] == "0" and "NVIDIA-H100" in seen[FOLDER]
