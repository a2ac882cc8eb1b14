"""How our settings become ms-swift's flags, and how its own record of them is compared with ours afterwards."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.variables import listed

# in a folder of its own: ms-swift puts the folder of a plugin on the import path
PLUGIN = Path(__file__).parent / "swift_plugin" / "mindtune_plugin.py"


def render(flags: Mapping[str, Any]) -> list[str]:
    """Command-line words for a mapping of flags: lists as separate words, booleans in lower case, sorted by name."""
    words = []
    for name in sorted(flags):
        value = flags[name]
        values = value if isinstance(value, list) else [value]
        words += [f"--{name}", *(str(item).lower() if isinstance(item, bool) else str(item) for item in values)]
    return words


def data_flags(model: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that decide which tokens the trainer sees, the same for caching and for training."""
    return {
        "model_type": model["type"],
        "template": model["template"],
        "max_length": settings["max_length"],
        # over-long dialogues were rejected by name before; what is left must not be dropped in silence, so counts are compared
        "truncation_strategy": "delete",
        "data_seed": settings["seed"],
        "dataset_num_proc": 1,
        "strict": True,
    }


def method_flags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that say what is trained. qlora: NF4 with quantised constants, as in its paper (Dettmers et al. 2023, section 3)."""
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


def train_flags(model: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flags of `swift sft` for a run's settings; paths are added by the caller."""
    return (
        data_flags(model, settings)
        | method_flags(settings)
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
            # a worker process would double the memory of a small machine
            "dataloader_num_workers": 0 if settings["device"] == "cpu" else 4,
            "seed": settings["seed"],
            # a loss that is no number must show, not be replaced by a mean; and looking for one makes the GPU wait each micro-batch
            "logging_nan_inf_filter": False,
            "use_liger_kernel": settings["kernels"] == "fast" and settings["device"] == "gpu",
            "callbacks": ["mindtune_watch"],
            "report_to": ["swanlab"],
            "external_plugins": [str(PLUGIN)],
            **({"ddp_backend": "gloo"} if settings["device"] == "cpu" and settings["gpus"] > 1 else {}),
        }
    )


def environment(**extra: str) -> dict[str, str]:
    """The environment of an ms-swift process: what is listed in mindtune/variables.py, offline, with `extra` laid over it.

    With a ModelScope token ms-swift logs in first, and without a connection dies of it; SwanLab would call a webhook of the user's
    even when it records offline. Processes that train together talk over the loopback interface only.
    """
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return {**listed(os.environ), "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", **offline, **extra}


def swift(
    command: str,
    flags: Mapping[str, Any],
    env: Mapping[str, str],
    keep_open: Sequence[int] = (),
    processes: int = 1,
    beside: Callable[[subprocess.Popen], None] = lambda _: None,
) -> None:
    """Run `swift COMMAND` in this interpreter's environment, in several processes by torchrun; its output goes to our log.

    `keep_open` are file descriptors that the process inherits: a lock that it holds on to if we are killed. `beside` is called with
    the process in a thread of its own.
    """
    torchrun = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local_addr=127.0.0.1",
        f"--nproc_per_node={processes}",
    ]
    words = [sys.executable, *(torchrun if processes > 1 else []), "-m", f"swift.cli.{command}", *render(flags)]
    print("running: " + " ".join(words[1:]), flush=True)
    with subprocess.Popen(words, env=dict(env), pass_fds=tuple(keep_open), stdin=subprocess.DEVNULL) as process:
        thread = threading.Thread(target=beside, args=[process])
        thread.start()
        try:
            status = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            thread.join()
    if status != 0:
        raise UserError(f"ms-swift's {command} ended with status {status}; its own message stands above in this log")


# Flags that concern only this process, and paths, which the trainer makes absolute
NOT_COMPARED = {
    "add_version", "cached_dataset", "cached_val_dataset", "external_plugins", "model", "output_dir", "resume_from_checkpoint",
}  # fmt: skip


def compare_args(args_file: Path, flags: Mapping[str, Any]) -> None:
    """Compare every flag with the trainer's own record of its arguments.

    A difference is a UserError: the trainer trained something else than the configuration says.
    """
    recorded = json.loads(args_file.read_text(encoding="utf-8"))
    for name in sorted(flags.keys() - NOT_COMPARED):
        if recorded.get(name) != flags[name]:
            raise UserError(
                f"{args_file} says that the trainer used {name} {recorded.get(name)!r} where the configuration says {flags[name]!r}; "
                "this version of ms-swift reads that flag otherwise, so pin another version in envs/train.in or change the setting"
            )
