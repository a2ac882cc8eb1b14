"""The tensors in a model's safetensors files, and their values. Merge and proof share this
reading, and nothing else.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import read_json

# torch's name of a dtype: its name in a safetensors header, and bytes an element
DTYPES = {"float32": ("F32", 4), "bfloat16": ("BF16", 2), "float16": ("F16", 2)}
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a safetensors file: its name, its dtype as torch calls it, its shape, and the
    file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.numel * DTYPES[self.dtype][1]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: those its index names, or the single one; anything
    else is a UserError.
    """
    index = folder / INDEX
    if index.exists():
        names = sorted(set(read_json(index)["weight_map"].values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise UserError(
                f"{index} names {missing[0]}, which is not in the folder; fetch the model again"
            )
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    raise UserError(
        f"{folder} has neither model.safetensors nor {INDEX}; only safetensors models can be read"
    )


def is_full(folder: Path) -> bool:
    """Whether a training's folder holds a whole model's weights (method full) and not an
    adapter.
    """
    return not (folder / "adapter_config.json").is_file() and (folder / "config.json").is_file()


def read_tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """The tensors in some safetensors files, by name, without reading their values.

    A torn file, a name that occurs twice and a dtype that is not a plain float (a quantised
    weight) are UserErrors.
    """
    from safetensors import SafetensorError, safe_open

    torch_names = {code: name for name, (code, _) in DTYPES.items()}
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as handle:
                for name in handle.keys():  # noqa: SIM118  not a mapping
                    view = handle.get_slice(name)
                    if view.get_dtype() not in torch_names:
                        raise UserError(
                            f"{file}: {name} is stored as {view.get_dtype()}, so the model is "
                            f"quantised; "
                            f"use its unquantised weights ({', '.join(DTYPES)})"
                        )
                    if name in tensors:
                        raise UserError(
                            f"{file}: {name} is also in {tensors[name].file}; fetch the model again"
                        )
                    tensors[name] = Tensor(
                        name, torch_names[view.get_dtype()], tuple(view.get_shape()), file
                    )
        except SafetensorError as error:
            raise UserError(
                f"{file} is not a whole safetensors file ({error}); make or fetch it again"
            ) from error
    return tensors


def read_model(folder: Path) -> dict[str, Tensor]:
    """The tensors of a model folder by name; an index that disagrees with the files is a
    UserError.
    """
    tensors = read_tensors(weight_files(folder))
    if (folder / INDEX).exists():
        promised = read_json(folder / INDEX)["weight_map"]
        for name in sorted(promised.keys() ^ tensors.keys()):
            place = "only in the index" if name in promised else "not in the index"
            raise UserError(f"{folder / INDEX}: {name} is {place}; fetch the model again")
    return tensors


def load_tensor(tensor: Tensor) -> Any:
    """The tensor's values, mapped from the file.

    The file is opened anew for each tensor: a mapping lives as long as a tensor from it, so the
    pages of the others are given back and the resident memory stays at the tensors in use.
    """
    from safetensors import safe_open

    with safe_open(tensor.file, framework="pt") as handle:
        return handle.get_tensor(tensor.name)
