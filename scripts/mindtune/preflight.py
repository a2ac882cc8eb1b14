"""Whether this node can do what a program is about to start: refused in seconds, before a model is
loaded.

Text is UTF-8, a folder has room, the card that was asked for is there (NVML), its driver fits
torch's CUDA, Triton can compile, and the packages that need the card can be imported. NVML is
called directly, because not every environment has a package for it.
"""

import importlib
import inspect
import json
import locale
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindtune.card_claims import claim
from mindtune.cli import UserError
from mindtune.nvml import read_nvml

# What a card is called in the names that clusters and drivers give: h100, a100, l40, gh200
CARD_WORD = re.compile(r"(?<![a-z])[a-z]{1,2}\d{1,4}(?![a-z0-9])")


def ask_torch() -> dict[str, object]:
    """What torch says of itself and the cards, and where Python's headers are. Its text also runs
    in other interpreters, which have none of our modules.
    """
    import sysconfig

    import torch

    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cards": torch.cuda.device_count(),
        "include": sysconfig.get_paths("posix_prefix")["include"],
    }


# In the interpreter that will use the card, and gone with all that it loads there
PROBE = f"""
import importlib, json, sys
{inspect.getsource(ask_torch)}
print(json.dumps(ask_torch()), flush=True)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def check_node(folder: Path, room: int) -> None:
    """What every job needs: UTF-8, and `room` bytes free in `folder`."""
    check_locale(sys.getfilesystemencoding(), locale.getpreferredencoding(False))
    folder.mkdir(parents=True, exist_ok=True)
    check_room(folder, room)


def check_driver(cards: int) -> dict[str, Any]:
    """The node has the cards that the program and its job want; what the driver says, in a second,
    before anything is imported.

    Off a cluster the program takes its cards here, so that jobs side by side do not share one.
    """
    found = read_nvml()
    check_cards(found["names"], cards, *asked_for())
    claim(cards, len(found["names"]))
    return found


def check_gpu(python: str, cards: int, modules: Sequence[str]) -> None:
    """What a job on a GPU needs, seen by the interpreter that will use `cards` cards and import
    `modules`.
    """
    found = check_driver(cards)
    seen = probe(python, modules)
    check_torch(seen, found, cards)
    check_compiler(seen["include"])


def check_this_process(cards: int, modules: Sequence[str]) -> None:
    """The same for the process that calls it, which imports torch and `modules` anyway; the driver
    was looked at before.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise not_importable(
                modules, sys.executable, f"{type(error).__name__}: {error}"
            ) from None
    check_torch(ask_torch(), read_nvml(), cards)


def check_compiler(include: str = sysconfig.get_paths("posix_prefix")["include"]) -> None:
    """What Triton needs to compile its launcher at the first kernel: a C compiler and Python's
    headers, in the folder `include`.
    """
    named = os.environ.get("CC")
    if not any(shutil.which(name) for name in ([named] if named else ["gcc", "clang"])):
        raise UserError(
            f"this node has no C compiler "
            f"({f'CC is {named}' if named else 'neither gcc nor clang is on PATH'}), and Triton "
            f"compiles with "
            "one when the first kernel starts; load your cluster's module of gcc, or install it, "
            "then run again"
        )
    if not Path(include, "Python.h").is_file():
        raise UserError(
            f"{include} has no Python.h, which Triton compiles with when the first kernel starts; "
            f"install Python's headers "
            "(python3.11-dev, python3.11-devel), or make .venv with a Python that brings them, "
            "then run again"
        )


def check_results_room(folder: Path, base_bytes: int) -> None:
    """Before anything large is fetched: room for the base and for a merged model of its size, of
    which exports are hard links.
    """
    free, needed = shutil.disk_usage(folder).free, 2 * base_bytes
    if free < needed:
        raise UserError(
            f"{folder} is on a disk with {free / 1e9:.0f} GB free, and this model needs "
            f"{needed / 1e9:.0f} GB there (the base, and as much for "
            "the merged model); free some space, or work in a folder on a larger disk (--directory)"
        )


def check_locale(*encodings: str) -> None:
    """Chinese text needs UTF-8."""
    for encoding in encodings:
        if encoding.lower().replace("-", "") != "utf8":
            raise UserError(
                f"this process writes text as {encoding}, which cannot hold Chinese; set "
                f"LC_ALL=C.UTF-8 and PYTHONUTF8=1, then run again"
            )


def check_room(folder: Path, room: int) -> None:
    """A folder has `room` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < room:
        raise UserError(
            f"{folder} has {free >> 20} MiB free and this job needs {-(-room >> 20)} MiB there; "
            f"free some space, then run again"
        )


def asked_for() -> tuple[str, int]:
    """Model and number of the GPUs that this SLURM job asked for; ("", 0) where there is no job,
    or none that asked.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job or not shutil.which("scontrol"):
        return "", 0
    shown = subprocess.run(
        ["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True
    ).stdout
    found = re.search(
        r"\bTresPer(?:Job|Node)=\S*?gpu(?::([^:,\s]*[^:,\s\d][^:,\s]*))?(?::(\d+))?", shown
    )
    return (found[1] or "", int(found[2] or 1)) if found else ("", 0)


def check_cards(names: Sequence[str], cards: int, model: str, count: int) -> None:
    """The driver's cards are as many as the program and its job want, and of the model that the
    job asked for.
    """
    wanted = max(cards, count)
    if len(names) < wanted:
        raise UserError(
            f"this job wants {wanted} GPUs and the driver sees {len(names)} "
            f"({', '.join(names) or 'none'}); "
            "run it on another node, or ask your administrator about this one"
        )
    word = CARD_WORD.search(model.lower())
    other = [name for name in names if word and word[0] not in name.lower()]
    if len(names) - len(other) < wanted:
        raise UserError(
            f"this job asked for {model} and the node has {', '.join(names)}; "
            "correct gpu_model in slurm-h100/config.yaml, or ask your administrator about the node"
        )


def probe(python: str, modules: Sequence[str]) -> dict[str, Any]:
    """What torch says in another interpreter; a UserError if torch or one of the modules cannot be
    imported there.
    """
    done = subprocess.run([python, "-P", "-c", PROBE, *modules], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise not_importable(modules, python, last)
    return json.loads(done.stdout.splitlines()[0])


def not_importable(modules: Sequence[str], python: str, reason: str) -> UserError:
    """The error of an environment that lacks something."""
    return UserError(
        f"{' and '.join(['torch', *modules])} cannot be imported by {python} ({reason}); "
        "build that environment again on the login node, or set another train.attention or "
        "serve.engine"
    )


def check_torch(seen: dict[str, Any], found: dict[str, Any], cards: int) -> None:
    """torch has CUDA, of no later major version than the driver knows, and sees the cards."""
    if not seen["cuda"]:
        raise UserError(
            f"torch {seen['torch']} is a CPU build; build the environment of a configuration with "
            f"device gpu"
        )
    if int(seen["cuda"].split(".")[0]) > found["cuda"][0]:
        known = ".".join(map(str, found["cuda"]))
        raise UserError(
            f"driver {found['driver']} of this node knows CUDA up to {known} and torch "
            f"{seen['torch']} is built for "
            f"CUDA {seen['cuda']}; run this on a node with a newer driver"
        )
    if seen["cards"] < cards:
        raise UserError(
            f"the driver sees {', '.join(found['names'])} and torch may use {seen['cards']} of the "
            f"{cards} cards wanted "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')}); ask for the "
            f"card with gpu=1, as the rules do"
        )
