"""Checkpoints: only whole ones count, only one trainer writes, another setting is another state."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.train.state import (
    ADAPTER_FILES,
    CHECKPOINT_FILES,
    last_checkpoint,
    locked,
    random_states,
    state_key,
)

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def make_checkpoint(folder, step, random=("rng_state.pth",)):
    """A checkpoint with the real forms: a safetensors file, torch's zip archives, JSON."""
    target = folder / f"checkpoint-{step}"
    target.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (target / "adapter_model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + bytes(8)
    )
    for name in ("optimizer.pt", "scheduler.pt", *random):
        with zipfile.ZipFile(target / name, "w") as archive:
            archive.writestr("data.pkl", b"x" * 1000)
    for name in (
        "adapter_config.json",
        "additional_config.json",
        "args.json",
        "trainer_state.json",
    ):
        (target / name).write_text(json.dumps({"global_step": step}))
    return target


def test_the_newest_whole_checkpoint_is_used(tmp_path):
    for step in (5, 10, 100):
        make_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-notes").mkdir()
    assert last_checkpoint(tmp_path).name == "checkpoint-100"
    assert last_checkpoint(tmp_path / "nothing") is None


def test_every_process_has_its_own_random_state(tmp_path):
    make_checkpoint(tmp_path, 5, random_states(2))
    make_checkpoint(tmp_path, 10, random_states(2)[:1])
    assert last_checkpoint(tmp_path, 2).name == "checkpoint-5"


@pytest.mark.parametrize("name", [*ADAPTER_FILES, *CHECKPOINT_FILES, "rng_state.pth"])
@pytest.mark.parametrize("damage", ["cut", "missing", "empty"])
def test_a_torn_checkpoint_is_dropped_for_the_one_before(tmp_path, name, damage):
    make_checkpoint(tmp_path, 5)
    torn = make_checkpoint(tmp_path, 10) / name
    if damage == "missing":
        torn.unlink()
    else:
        torn.write_bytes(
            torn.read_bytes()[: len(torn.read_bytes()) // 2] if damage == "cut" else b""
        )
    assert last_checkpoint(tmp_path).name == "checkpoint-5"
    assert not (tmp_path / "checkpoint-10").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_torn_checkpoint_of_a_whole_model_is_dropped_too(tmp_path, name, damage):
    for step in (5, 10):
        checkpoint = make_checkpoint(tmp_path, step)
        (checkpoint / "adapter_model.safetensors").rename(checkpoint / "model.safetensors")
        (checkpoint / "adapter_config.json").rename(checkpoint / "config.json")
    assert last_checkpoint(tmp_path).name == "checkpoint-10"
    torn = tmp_path / "checkpoint-10" / name
    content = torn.read_bytes()
    torn.unlink()
    if damage == "cut":
        torn.write_bytes(content[: len(content) // 2])
    assert last_checkpoint(tmp_path).name == "checkpoint-5"


def test_what_only_ms_swift_reads_of_a_checkpoint_has_to_be_whole_too(tmp_path):
    make_checkpoint(tmp_path, 5)
    (make_checkpoint(tmp_path, 10) / "additional_config.json").write_text("{")
    assert last_checkpoint(tmp_path).name == "checkpoint-5"


def test_a_second_trainer_is_refused_until_the_first_is_gone(tmp_path):
    hold = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from mindtune.train.state import locked\n"
        "with locked(Path(sys.argv[2])):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(SCRIPTS), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=f"in use by another trainer.*pid {holder.pid}"),
            locked(tmp_path),
        ):
            pass
        holder.kill()
        holder.wait()
        with locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()


def test_a_trainer_that_outlives_us_keeps_the_lock(tmp_path):
    with locked(tmp_path) as descriptor:
        orphan = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
    try:
        with pytest.raises(UserError, match="in use"), locked(tmp_path):
            pass
    finally:
        orphan.kill()
        orphan.wait()
    with locked(tmp_path):
        pass


def test_every_part_of_the_key_counts():
    base = {"data": "a", "base": "b", "settings": {"learning_rate": 2e-4}, "code": "c"}
    keys = {state_key(**base)}
    for edit in (
        {"data": "x"},
        {"base": "x"},
        {"settings": {"learning_rate": 1e-4}},
        {"code": "x"},
    ):
        keys.add(state_key(**{**base, **edit}))
    assert len(keys) == 5
    assert state_key(**dict(reversed(base.items()))) == state_key(**base)
