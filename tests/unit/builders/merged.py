"""Merges of a run's folders, and copies of them with one thing changed."""

import json
import shutil
from pathlib import Path

from merge_adapter import merge
from mindtune.tensors import read_model
from proven_run import (
    MERGE,
)


def merge_into(base: Path, adapter: Path, folder: Path, **settings: str) -> dict:
    """Run the merge in this process; return its facts."""
    folder.mkdir()
    return merge(base, adapter, folder, MERGE | settings, threads=1)[1]


def edit_adapter(source: Path, target: Path, edit) -> Path:
    from safetensors.torch import load_file, save_file

    copy(source, target)
    weights = load_file(target / "adapter_model.safetensors")
    edit(weights)
    save_file(weights, target / "adapter_model.safetensors")
    return target


FIRST = "base_model.model.model.layers.0.mlp.down_proj.lora_{}.weight"


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8"
    )


def flip_bit(folder: Path, name: str) -> None:
    """Flip the lowest bit of a tensor's first value, in its file."""
    tensor = read_model(folder)[name]
    data = bytearray(tensor.file.read_bytes())
    size = int.from_bytes(data[:8], "little")
    data[8 + size + json.loads(data[8 : 8 + size])[name]["data_offsets"][0]] ^= 1
    tensor.file.write_bytes(data)
