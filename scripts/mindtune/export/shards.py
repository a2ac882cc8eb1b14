"""Safetensors shards: how tensors are divided over them, and a writer that streams them.

The safetensors library writes a file from tensors that are all in memory, which for a 7B model
means all of it. The format (https://huggingface.co/docs/safetensors, "Format") is simple enough to
write tensor by tensor: 8 bytes little-endian header length, a JSON header padded with spaces to a
multiple of 8, then the tensors' bytes. Order, names and padding here are those of the library and
of `huggingface_hub.split_torch_state_dict_into_shards`, so that equal tensors give equal files.
"""

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from mindtune.cli import UserError
from mindtune.records import to_json, write_text
from mindtune.tensors import DTYPES, INDEX, Tensor

# decimal, as in ms-swift and huggingface_hub: a GiB would make shards that are larger than what
# was asked for
SIZE_UNITS = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3}
# Bytes after which the disk is set to work while the next tensors are computed: 0.1-0.5 s of a
# disk's time
SYNC_EVERY = 256 * 2**20
# Blocks of values that may wait to be written; with blocks of 512 KiB this smooths 32 MiB over a
# stall of the disk
WAITING = 64


def parse_size(text: str) -> int:
    """Bytes of a size like "2GB" (2,000,000,000); a binary or unknown unit is a UserError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", str(text))
    if not match or match[2].upper() not in SIZE_UNITS:
        raise UserError(
            f"max_shard_size: {text!r} is not a size; write a number and one of KB, MB, GB, TB, "
            "which are decimal (2GB = 2,000,000,000 bytes)"
        )
    size = int(float(match[1]) * SIZE_UNITS[match[2].upper()])
    if size < 1:
        raise UserError(f"max_shard_size: {text!r} is no room for a tensor; give a size above zero")
    return size


def in_model_order(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Tensors in the order in which transformers 5 saves a model that it loaded: by the parts of
    the name, numbers as numbers.

    (`dot_natural_key` in transformers/core_model_loading.py; a test compares the shards with those
    of ms-swift.)
    """

    def natural(tensor: Tensor) -> list[tuple[Any, ...]]:
        return [(0, int(part)) if part.isdigit() else (1, part) for part in tensor.name.split(".")]

    return sorted(tensors, key=natural)


def plan_shards(tensors: Iterable[Tensor], limit: int) -> dict[str, list[Tensor]]:
    """Divide tensors over files of at most `limit` bytes of values; {file name: tensors}, in order.

    Greedy and in the order given, as huggingface_hub does it. A tensor above the limit becomes a
    file of its own. Sizes count the tensors, not the header (some 100 bytes a tensor).
    """
    shards: list[list[Tensor]] = []
    current: list[Tensor] = []
    filled = 0
    for tensor in tensors:
        if tensor.bytes > limit:
            shards.append([tensor])
            continue
        if filled + tensor.bytes > limit:
            shards.append(current)
            current, filled = [], 0
        current.append(tensor)
        filled += tensor.bytes
    if current:
        shards.append(current)
    if len(shards) == 1:
        return {"model.safetensors": shards[0]}
    return {
        f"model-{number:05d}-of-{len(shards):05d}.safetensors": shard
        for number, shard in enumerate(shards, 1)
    }


def in_file_order(shard: Iterable[Tensor]) -> list[Tensor]:
    """Tensors of one dtype in the order in which the safetensors library stores them: by name."""
    return sorted(shard, key=lambda tensor: tensor.name)


def shard_header(shard: Iterable[Tensor]) -> bytes:
    """Length and header of a safetensors file that holds these tensors, in this order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in shard:
        header[tensor.name] = {
            "dtype": DTYPES[tensor.dtype][0],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.bytes],
        }
        offset += tensor.bytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_index(folder: Path, shards: Mapping[str, list[Tensor]]) -> None:
    """Write the index as transformers does; a model in one file has none."""
    if len(shards) == 1:
        return
    tensors = [tensor for shard in shards.values() for tensor in shard]
    metadata = {
        "total_parameters": sum(tensor.numel for tensor in tensors),
        "total_size": sum(tensor.bytes for tensor in tensors),
    }
    weight_map = {tensor.name: name for name, shard in shards.items() for tensor in shard}
    write_text(folder / INDEX, to_json({"metadata": metadata, "weight_map": weight_map}) + "\n")


class ShardWriter:
    """Writes one safetensors file while the caller computes its values: one thread writes, one
    hashes, one syncs.

    `write(block)` in the order of `shard`, until the tensors' bytes are complete. Leaving the
    `with` block waits for all threads; then the bytes are on the disk and `digest` holds their
    SHA-256. An error in a thread is raised there or by the next `write`.
    """

    def __init__(self, path: Path, shard: Iterable[Tensor]) -> None:
        shard = list(shard)
        self._stream: BinaryIO = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._missing = sum(tensor.bytes for tensor in shard)
        self._writer, self._hasher, self._disk = (ThreadPoolExecutor(1) for _ in range(3))
        self._pending: deque[Future[Any]] = deque()
        self._dirty = 0
        self._put(shard_header(shard))

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for pool in (self._writer, self._hasher, self._disk):
            pool.shutdown(cancel_futures=kind is not None)
        with self._stream:
            if kind is not None:
                return
            while self._pending:
                self._pending.popleft().result()
            os.fsync(self._stream.fileno())
        if self._missing:
            raise AssertionError(
                f"{self._stream.name}: its tensors are {self._missing} bytes longer than what was "
                f"written"
            )
        self.digest = self._hash.hexdigest()

    def write(self, values: Any) -> None:
        """Append the bytes of one contiguous torch tensor, a block of the file's values."""
        import torch

        view = memoryview(values.reshape(-1).view(torch.uint8).numpy())
        self._missing -= len(view)
        self._put(view)
        self._dirty += len(view)
        if self._dirty >= SYNC_EVERY:
            self._queue(self._writer, self._sync)
            self._dirty = 0

    def _sync(self) -> None:
        """Runs in the writer's thread, so that the disk's thread begins after the last write."""
        self._pending.append(self._disk.submit(os.fdatasync, self._stream.fileno()))

    def _put(self, values: bytes | memoryview) -> None:
        self._queue(self._writer, write_all, self._stream, values)
        self._queue(self._hasher, self._hash.update, values)

    def _queue(self, pool: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any) -> None:
        self._pending.append(pool.submit(work, *arguments))
        while len(self._pending) > 2 * WAITING:
            self._pending.popleft().result()


def write_all(stream: BinaryIO, values: bytes | memoryview) -> None:
    """Write to a raw stream, which may take less at a time than it is given."""
    view = memoryview(values)
    while view:
        view = view[stream.write(view) :]


def retyped(tensor: Tensor, dtype: str) -> Tensor:
    """The same tensor as it will be stored in another dtype."""
    return replace(tensor, dtype=dtype)
