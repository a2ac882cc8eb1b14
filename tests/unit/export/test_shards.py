"""Shard sizes, plans and files are those of huggingface_hub and of the safetensors library."""

import json
import random
from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.export.shards import (
    ShardWriter,
    in_file_order,
    in_model_order,
    parse_size,
    plan_shards,
    write_index,
)
from mindtune.records import sha256_files
from mindtune.tensors import INDEX, Tensor, load_tensor, read_model, read_tensors


def tensors_of(sizes: list[int], folder: Path = Path("x")) -> list[Tensor]:
    """bf16 tensors of the given numbers of elements."""
    return [
        Tensor(f"层.{number}.weight", "bfloat16", (size,), folder)
        for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2_000_000_000),
        ("1.5 kb", 1500),
        ("50MB", 50_000_000),
        ("1TB", 10**12),
        ("0.5GB", 500_000_000),
    ],
)
def test_sizes_are_decimal(text, size):
    from huggingface_hub.serialization._base import parse_size_to_int

    assert parse_size(text) == size == parse_size_to_int(text)


@pytest.mark.parametrize("text", ["1MiB", "2GiB", "2G", "GB", "-1GB", "2", "", "两GB", "0KB"])
def test_other_units_are_refused(text):
    with pytest.raises(UserError, match="decimal|above zero"):
        parse_size(text)


@pytest.mark.parametrize("seed", range(30))
def test_plan_is_that_of_huggingface_hub(seed):
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards

    draw = random.Random(seed)
    limit = draw.randint(20, 400)
    tensors = tensors_of([draw.randint(1, 150) for _ in range(draw.randint(1, 40))])
    state = {tensor.name: torch.empty(tensor.shape, dtype=torch.bfloat16) for tensor in tensors}
    theirs = split_torch_state_dict_into_shards(
        state, filename_pattern="model{suffix}.safetensors", max_shard_size=limit
    )
    ours = {
        name: [tensor.name for tensor in shard]
        for name, shard in plan_shards(tensors, limit).items()
    }
    assert ours == theirs.filename_to_tensors


def test_a_tensor_above_the_limit_is_a_shard_of_its_own():
    plan = plan_shards(tensors_of([10, 500, 10]), limit=100)
    assert [[tensor.numel for tensor in shard] for shard in plan.values()] == [[500], [10, 10]]
    assert list(plan) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_layers_are_ordered_as_numbers():
    names = ["model.layers.10.a", "model.layers.2.a", "lm_head.weight", "model.embed_tokens.weight"]
    ordered = in_model_order(Tensor(name, "float32", (1,), Path("x")) for name in names)
    assert [tensor.name for tensor in ordered] == [names[2], names[3], names[1], names[0]]


def write(folder: Path, values: dict, dtype: str, name: str = "model.safetensors") -> str:
    """Write torch tensors with our writer, in small blocks; return the file's hash."""
    planned = [Tensor(key, dtype, tuple(value.shape), folder) for key, value in values.items()]
    with ShardWriter(folder / name, in_file_order(planned)) as writer:
        for tensor in in_file_order(planned):
            for block in values[tensor.name].reshape(-1).split(7):
                writer.write(block)
    return writer.digest


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_streamed_file_is_that_of_the_library(tmp_path, dtype):
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    values = {
        f"层.{number}.权重": torch.randn(number + 1, 3).to(getattr(torch, dtype))
        for number in range(12)
    }
    digest = write(tmp_path, values, dtype)
    save_file(values, tmp_path / "library.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "model.safetensors").read_bytes() == (
        tmp_path / "library.safetensors"
    ).read_bytes()
    assert digest == sha256_files(tmp_path)["model.safetensors"]
    loaded = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(loaded[name], value) for name, value in values.items())
    assert torch.equal(load_tensor(read_model(tmp_path)["层.3.权重"]), values["层.3.权重"])


def test_a_full_disk_is_an_error_and_not_a_hang():
    import torch

    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    values = torch.zeros(1000)
    with (
        pytest.raises(OSError),
        ShardWriter(full, [Tensor("a", "float32", (1000,), full)]) as writer,
    ):
        writer.write(values)


def test_a_short_file_is_noticed(tmp_path):
    import torch

    shard = [Tensor("a", "float32", (10,), tmp_path)]
    with (
        pytest.raises(AssertionError, match="bytes longer"),
        ShardWriter(tmp_path / "a", shard) as writer,
    ):
        writer.write(torch.zeros(9))


def two_shards(folder: Path) -> None:
    import torch

    values = {"a": torch.zeros(4), "b": torch.ones(4)}
    for number, name in enumerate(values, 1):
        write(folder, {name: values[name]}, "float32", f"model-0000{number}-of-00002.safetensors")
    plan = plan_shards([Tensor(name, "float32", (4,), folder) for name in values], limit=16)
    write_index(folder, plan)


def test_index_is_read_and_checked(tmp_path):
    two_shards(tmp_path)
    assert json.loads((tmp_path / INDEX).read_text())["metadata"] == {
        "total_parameters": 8,
        "total_size": 32,
    }
    assert sorted(read_model(tmp_path)) == ["a", "b"]
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        UserError, match="names model-00002-of-00002.safetensors, which is not in the folder"
    ):
        read_model(tmp_path)


def test_index_that_names_another_tensor_is_refused(tmp_path):
    two_shards(tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    index["weight_map"]["c"] = index["weight_map"]["a"]
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match="c is only in the index"):
        read_model(tmp_path)


def test_a_torn_file_is_refused(tmp_path):
    import torch

    write(tmp_path, {"a": torch.zeros(100)}, "float32")
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        read_model(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match="neither model.safetensors nor"):
        read_model(tmp_path)


def test_quantised_weights_are_refused(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(4, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="stored as I8, so the model is quantised"):
        read_tensors([tmp_path / "model.safetensors"])
