"""What is kept of a training: one checkpoint's weights, with a configuration that is the same on
every machine.
"""

from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import link_or_copy, partial_folder, read_json, write_json
from mindtune.tensors import INDEX, is_full, weight_files


def kept_checkpoint(last: Path, which: str, log: list[dict[str, Any]]) -> Path:
    """The checkpoint whose adapter is kept: the last, or the one with the lowest dev loss, the
    first of equals.
    """
    if which == "last":
        return last
    losses = {entry["step"]: entry["eval_loss"] for entry in log if "eval_loss" in entry}
    best = last.with_name(f"checkpoint-{min(losses, key=losses.__getitem__)}")
    if not best.is_dir():
        raise UserError(
            f"{best} has the lowest dev loss and is not there any more; raise "
            f"train.save_total_limit, or set train.checkpoint to last"
        )
    return best


def write_adapter(checkpoint: Path, target: Path, base: str, model: Path) -> None:
    """Copy the adapter's weights, and its configuration in a fixed order and without a path of
    this machine.

    Of a fully trained model: all weights, and the base's configuration, with which they can be
    loaded.
    """
    if is_full(checkpoint):
        with partial_folder(target) as folder:
            for path in (*weight_files(checkpoint), *checkpoint.glob(INDEX)):
                link_or_copy(path, folder / path.name)
            (folder / "config.json").write_bytes((model / "config.json").read_bytes())
        return
    config = read_json(checkpoint / "adapter_config.json")
    config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = base
    with partial_folder(target) as folder:
        (folder / "adapter_model.safetensors").write_bytes(
            (checkpoint / "adapter_model.safetensors").read_bytes()
        )
        write_json(folder / "adapter_config.json", config)
