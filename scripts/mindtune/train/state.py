"""Where a training run keeps its checkpoints: keyed by everything that makes a resume valid, and
locked against a second writer.

state/train/{run}/{key}/   checkpoint-N/ as the trainer writes them, swanlab/, .lock, owner.json,
                           and while it is not yet known
                           whether base and data are what the key says, unproven.json: the step
                           that was gone on from
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mindtune.cli import UserError
from mindtune.records import read_json, to_json, write_json
from mindtune.tensors import is_full, weight_files

# What the trainer needs to go on from a checkpoint; trainer_state.json is the last that it writes
CHECKPOINT_FILES = ("args.json", "optimizer.pt", "scheduler.pt", "trainer_state.json")
UNPROVEN = "unproven.json"
# Settings that train nothing anew: how often something is said, how many checkpoints stay
DECIDES_NOTHING = ("logging_steps", "save_total_limit")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def state_key(**parts: object) -> str:
    """16 hex digits that change with the data, the model, the settings or the code: another key
    never resumes this state.
    """
    return hashlib.sha256(to_json(parts).encode()).hexdigest()[:16]


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder's lock and yield its file descriptor; a trainer that inherits the descriptor
    holds on if we are killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / "owner.json"
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = read_json(owner) if owner.is_file() else {}
            raise UserError(
                f"{folder} is in use by another trainer "
                f"({', '.join(f'{key} {value}' for key, value in holder.items() if value)}); "
                "wait for it to end or end it, then run again to go on from its work"
            ) from None
        write_json(
            owner,
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
            },
        )
        yield descriptor
    finally:
        os.close(descriptor)


def unproven(folder: Path, step: int) -> None:
    """From here on checkpoints count only once `prove` is called: what they are trained from has
    not been compared yet.
    """
    write_json(folder / UNPROVEN, {"from_step": step})


def prove(folder: Path) -> None:
    """What is trained from is what the key says."""
    (folder / UNPROVEN).unlink(missing_ok=True)


def drop_unproven(folder: Path) -> None:
    """Remove checkpoints that may come from a changed base or data: nobody compared them, or they
    were found to differ.
    """
    if not (folder / UNPROVEN).is_file():
        return
    step = read_json(folder / UNPROVEN)["from_step"]
    for checkpoint in folder.glob("checkpoint-*"):
        if checkpoint.name[11:].isdigit() and checkpoint_step(checkpoint) > step:
            print(
                f"{checkpoint} was trained before its base and data were compared with their "
                f"records; it is dropped"
            )
            shutil.rmtree(checkpoint)
    prove(folder)


def checkpoint_step(folder: Path) -> int:
    """The step in a checkpoint folder's name."""
    return int(folder.name.removeprefix("checkpoint-"))


def random_states(gpus: int) -> list[str]:
    """Names of the files with the random generators' states: one for each process."""
    return ["rng_state.pth"] if gpus == 1 else [f"rng_state_{rank}.pth" for rank in range(gpus)]


def is_whole(checkpoint: Path, gpus: int) -> bool:
    """Whether every file of a checkpoint is there and complete: archives have their directory,
    JSON and safetensors parse.
    """
    try:
        trained = (
            weight_files(checkpoint)
            if is_full(checkpoint)
            else [checkpoint / name for name in ADAPTER_FILES]
        )
        named = [checkpoint / name for name in (*CHECKPOINT_FILES, *random_states(gpus))]
        for path in {*trained, *named, *checkpoint.glob("*.json")}:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".safetensors":
                check_safetensors(path)
            elif not zipfile.is_zipfile(path):
                return False
    except (OSError, ValueError, UserError):
        return False
    return True


def check_safetensors(path: Path) -> None:
    """Raise ValueError unless the file is as long as its header says."""
    with open(path, "rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    if path.stat().st_size != 8 + size + end:
        raise ValueError(f"{path} is truncated")


def last_checkpoint(folder: Path, gpus: int = 1) -> Path | None:
    """The newest whole checkpoint of a training on so many GPUs; torn ones after it are removed,
    with a line in the log.
    """
    found = [
        path for path in folder.glob("checkpoint-*") if path.is_dir() and path.name[11:].isdigit()
    ]
    for checkpoint in sorted(found, key=checkpoint_step, reverse=True):
        if is_whole(checkpoint, gpus):
            return checkpoint
        print(f"{checkpoint} was cut off while it was written; going back to the one before it")
        shutil.rmtree(checkpoint)
    return None
