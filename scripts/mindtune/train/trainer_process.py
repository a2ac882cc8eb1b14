"""The process that trains: what it is told, and who watches what it reads."""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.kernels import fused
from mindtune.nvml import read_nvml
from mindtune.provenance import hash_inputs
from mindtune.train.state import prove
from mindtune.train.swift import environment, swift

STARTED = time.time()
ATTENTION_MODULES = {
    "sdpa": [],
    "flash_attn": ["flash_attn.flash_attn_interface"],
    "flash_attention_4": ["flash_attn.cute"],
}
# Micro-batches differ in length. Fixed blocks of memory leave gaps: 78 GiB reserved where growing
# ones take 51. And Liger 0.8.5's
# CuTe kernel for rotary positions is compiled anew for every length, 14 ms a call, longer than the
# layer takes; its Triton one is not.
ON_GPU = {
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    "LIGER_KERNEL_IMPL_ROPE": "nvidia-triton",
}
ON_CPU = {"MINDTUNE_CPU_PACKING": "1", "CUDA_VISIBLE_DEVICES": ""}


def kernel_cache(attention: str) -> dict[str, str]:
    """Let FlashAttention-4 keep the kernels that it compiles, for later starts and resumes, unless
    the user says otherwise.

    A folder for each kind of card, and none where there are several: not all keys of its cache name
    the card (flash_attn/cute/interface.py, 4.0.0b36).
    """
    if attention != "flash_attention_4":
        return {}
    kind, *others = sorted(set(read_nvml()["names"]))
    kept = {
        "FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED": "0" if others else "1",
        "FLASH_ATTENTION_CUTE_DSL_CACHE_DIR": str(
            Path.cwd() / ".cache/flash_attention" / re.sub(r"\W+", "-", kind)
        ),
    }
    return {name: value for name, value in kept.items() if name not in os.environ}


def trainer_environment(
    args: argparse.Namespace,
    state: Path,
    key: str,
    recompute: bool,
    stopped: Path,
    mixture: Iterable[str],
) -> dict[str, str]:
    """What the plugin reads: where SwanLab records, and what our trainer and its observer need."""
    settings, on_gpu = args.settings, args.settings["device"] == "gpu"
    cards = {"cards": settings["gpus"], "modules": ATTENTION_MODULES[settings["attention"]]}
    isolation = {
        "model": str(args.model),
        "attention": settings["attention"],
        "dtype": settings["dtype"],
    }
    observer = {
        "kernels": settings["kernels"],
        "fused": fused(settings),
        "recompute": recompute,
        "started": STARTED,
        "launched": time.time(),
        "gpu": cards if on_gpu else None,
        "isolation": isolation if settings["packing"] else None,
        "datasets": sorted(mixture),
        "steps": str(state / "steps.jsonl"),
        "stopped": str(stopped),
        "profile": str(args.profile) if args.profile else None,
    }
    quantizer = args.quantizer if settings["method"] == "qlora" else None
    paths = [os.environ.get("PYTHONPATH"), quantizer]
    return environment(
        MINDTUNE_SWANLAB_DIR=str(state / "swanlab"),
        MINDTUNE_SWANLAB_EXPERIMENT=args.run,
        MINDTUNE_SWANLAB_ID=key,
        MINDTUNE_TRAINER=json.dumps(observer),
        **(ON_GPU | kernel_cache(settings["attention"]) if on_gpu else ON_CPU),
        PYTHONPATH=os.pathsep.join(str(path) for path in paths if path),
    )


def run_trainer(
    args: argparse.Namespace,
    flags: dict[str, Any],
    state: Path,
    key: str,
    descriptor: int,
    mixture: Iterable[str],
) -> None:
    """Start ms-swift; if its observer stopped it, the reason is the error. What it reads is
    compared meanwhile (`watch_inputs`).
    """
    wrong: list[Exception] = []
    # not among the checkpoints: their disk may be what is full
    with tempfile.TemporaryDirectory(prefix="mindtune-") as folder:
        stopped = Path(folder) / "stopped.txt"
        try:
            recompute = flags["gradient_checkpointing"]
            env = trainer_environment(args, state, key, recompute, stopped, mixture)
            beside = watch_inputs(args, state, wrong)
            swift(
                "sft",
                flags,
                env,
                keep_open=[descriptor],
                processes=args.settings["gpus"],
                beside=beside,
            )
        except UserError:
            if not wrong and stopped.is_file():
                raise UserError(stopped.read_text(encoding="utf-8")) from None
            if not wrong:
                raise
    if wrong:
        raise wrong[0]


def watch_inputs(
    args: argparse.Namespace, state: Path, wrong: list[Exception]
) -> Callable[[subprocess.Popen], None]:
    """A function for a thread beside the trainer: base and cached data are what their records say,
    or the trainer is ended.

    Reading 15 GB takes seconds, for which no card may wait: so with a GPU it is done once the
    first step is taken, when the trainer has just read the same bytes. Until then the new
    checkpoints count as unproven (see state.py).
    """
    steps = state / "steps.jsonl"
    card = args.settings["device"] == "gpu"
    before = steps.stat().st_size if steps.is_file() else 0

    def taken() -> bool:
        return steps.is_file() and steps.stat().st_size > before

    def compare(trainer: subprocess.Popen) -> None:
        while card and not taken():
            if trainer.poll() is not None and not taken():
                return  # without a step there is no checkpoint of it
            time.sleep(0.1)
        try:
            hash_inputs([args.model, args.cached], args.made_by)
            prove(state)
        except (UserError, OSError) as error:
            wrong.append(error)
            trainer.terminate()

    return compare
