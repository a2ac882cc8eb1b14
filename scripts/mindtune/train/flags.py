"""Flags of `swift sft` for a run's settings, and its own record of them compared with ours
afterwards.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.train.state import DECIDES_NOTHING
from mindtune.train.swift import data_flags

# in a folder of its own: ms-swift puts the folder of a plugin on the import path
PLUGIN = Path(__file__).parent / "swift_plugin/mindtune_plugin.py"


def method_flags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that say what is trained. qlora: NF4 with quantised constants, as in its paper
    (Dettmers et al. 2023, section 3).
    """
    if settings["method"] == "full":
        return {"tuner_type": "full"}
    lora = settings["lora"]
    flags = {
        "tuner_type": "lora",
        "lora_rank": lora["rank"],
        "lora_alpha": lora["alpha"],
        "lora_dropout": lora["dropout"],
        "target_modules": lora["target_modules"],
        "use_dora": settings["method"] == "dora",
    }
    if settings["method"] == "qlora":
        flags |= {
            "quant_method": "bnb",
            "quant_bits": 4,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": settings["dtype"],
        }
    return flags


def step_flags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that say what a step is, how many there are, and when one is looked at or kept."""
    return {
        "per_device_train_batch_size": settings["batch_size"],
        "per_device_eval_batch_size": settings["batch_size"],
        "gradient_accumulation_steps": settings["grad_accumulation"],
        "num_train_epochs": settings["epochs"],
        "learning_rate": settings["learning_rate"],
        "warmup_ratio": settings["warmup_ratio"],
        "save_steps": settings["save_steps"],
        "eval_steps": settings["save_steps"],
        "save_total_limit": settings["save_total_limit"],
        "logging_steps": settings["logging_steps"],
        "seed": settings["seed"],
        "data_seed": settings["seed"],
    }


def train_flags(model: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flags of `swift sft` for a run's settings; paths are added by the caller."""
    return (
        data_flags(model, settings)
        | method_flags(settings)
        | step_flags(settings)
        | {
            "check_model": False,
            "add_version": False,
            "torch_dtype": settings["dtype"],
            "bf16": settings["dtype"] == "bfloat16",
            "fp16": False,
            "use_cpu": settings["device"] == "cpu",
            "attn_impl": settings["attention"],
            "packing": settings["packing"],
            "packing_num_proc": 1,
            "gradient_checkpointing": settings["gradient_checkpointing"],
            # a worker process would double the memory of a small machine
            "dataloader_num_workers": 0 if settings["device"] == "cpu" else 4,
            # those that outlive their epoch end one after the other, 5 s each, once all is done
            "dataloader_persistent_workers": False,
            # a loss that is no number must show; looking for one makes the GPU wait each time
            "logging_nan_inf_filter": False,
            "use_liger_kernel": settings["kernels"] == "fast" and settings["device"] == "gpu",
            "callbacks": ["mindtune_watch"],
            "report_to": ["swanlab"],
            "external_plugins": [str(PLUGIN)],
            **(
                {"ddp_backend": "gloo"}
                if settings["device"] == "cpu" and settings["gpus"] > 1
                else {}
            ),
        }
    )


# Flags that concern only this process or what it says and keeps, and paths, which the trainer makes
# absolute
NOT_COMPARED = {
    *DECIDES_NOTHING, "add_version", "cached_dataset", "cached_val_dataset", "external_plugins",
    "model", "output_dir", "resume_from_checkpoint",
}  # fmt: skip


def compare_args(args_file: Path, flags: Mapping[str, Any]) -> None:
    """Compare every flag with the trainer's own record of its arguments.

    A difference is a UserError: the trainer trained something else than the configuration says.
    """
    recorded = json.loads(args_file.read_text(encoding="utf-8"))
    for name in sorted(flags.keys() - NOT_COMPARED):
        if recorded.get(name) != flags[name]:
            raise UserError(
                f"{args_file} says that the trainer used {name} {recorded.get(name)!r} where the "
                f"configuration says {flags[name]!r}; "
                "this version of ms-swift reads that flag otherwise, so pin another version in "
                "envs/train.in or change the setting"
            )
