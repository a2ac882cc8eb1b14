"""Which of a machine's GPUs a job takes, where no cluster hands them out: one that no other job of
this user holds.

Snakemake counts cards and names none, so two jobs that may run side by side would both begin with
card 0.
"""

import fcntl
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
# A job of one of these clusters sees only cards that it may use
CLUSTER_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
HELD = ExitStack()  # the locks of this process; they go with it, however it ends


def visible(cards: int, setting: str | None) -> list[str]:
    """Those of so many cards that a value of CUDA_VISIBLE_DEVICES leaves, as CUDA reads it: up to
    the first that is none.
    """
    if setting is None:
        return [str(number) for number in range(cards)]
    found: list[str] = []
    for word in setting.split(","):
        word = word.strip()
        if not (word.startswith(("GPU-", "MIG-")) or (word.isdecimal() and int(word) < cards)):
            break
        found.append(word)
    return list(dict.fromkeys(found))


def free_cards(wanted: int, cards: list[str], folder: Path) -> list[str]:
    """As many of these cards as are wanted and free, held by this process until it ends; none if
    there are fewer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        taken: list[str] = []
        for card in cards:
            stream = locks.enter_context(open(folder / card, "w"))
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            taken.append(card)
            if len(taken) == wanted:
                HELD.push(locks.pop_all())
                return taken
    return []


def claim(wanted: int, cards: int, environment: Mapping[str, str] = os.environ) -> None:
    """Let this process and its children see `wanted` free ones of the machine's cards; as it was
    if a cluster chose, or none is free.
    """
    if any(name in environment for name in CLUSTER_JOBS):
        return
    folder = Path(tempfile.gettempdir(), f"mindtune-cards-{os.getuid()}")
    taken = free_cards(wanted, visible(cards, environment.get(VISIBLE)), folder)
    if taken:
        os.environ[VISIBLE] = ",".join(taken)
