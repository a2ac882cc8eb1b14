"""No NaN and no infinity among a base model's weights: found where the model is fetched, not after
a training on it.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mindtune.cli import UserError

# dtype in a safetensors header: numpy's type of its bits, and the bits of the exponent, which are
# all set in NaN and infinity
EXPONENTS = {
    "F64": ("<u8", 0x7FF0 << 48),
    "F32": ("<u4", 0x7F80_0000),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
}
BLOCK = 1 << 22  # values looked at at a time


def tensors(path: Path) -> Iterator[tuple[str, str, int, int]]:
    """(name, dtype, first byte in the file, number of bytes) of a safetensors file's tensors."""
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > path.stat().st_size:
            raise UserError(
                f"{path} is no safetensors file: its header would be longer than the file; fetch "
                f"it again"
            )
        header = json.loads(stream.read(length))
    for name, about in header.items():
        if name != "__metadata__":
            first, end = about["data_offsets"]
            yield name, about["dtype"], 8 + length + first, end - first


def first_strange(path: Path) -> str:
    """The name of the first tensor with NaN or infinity in it; empty if there is none."""
    import numpy

    for name, dtype, start, size in tensors(path):
        if dtype not in EXPONENTS or not size:
            continue
        kind, mask = EXPONENTS[dtype]
        width = numpy.dtype(kind).itemsize
        values = numpy.memmap(path, kind, "r", start, size // width)
        for at in range(0, len(values), BLOCK):
            if ((values[at : at + BLOCK] & mask) == mask).any():
                return name
    return ""


def check_finite(folder: Path) -> None:
    """A UserError that names the first of a model folder's tensors that holds NaN or infinity."""
    paths = sorted(folder.glob("*.safetensors"))
    with ThreadPoolExecutor(4) as pool:
        for path, name in zip(paths, pool.map(first_strange, paths), strict=True):
            if name:
                raise UserError(
                    f"the base model's {path.name} holds NaN or infinity in {name}; no training "
                    f"can mend that: take another "
                    "copy or revision of the model"
                )
