"""How much memory the cards that this process may use have, and how much of it is taken."""

import os
import shutil
import subprocess

from mindtune.card_claims import VISIBLE, visible

MIB = 2**20
QUERY = "--query-gpu=index,uuid,memory.total,memory.used"


def card_memory() -> list[tuple[int, int]]:
    """(bytes in all, bytes in use) of each NVIDIA card that CUDA_VISIBLE_DEVICES leaves, in its
    order; empty where there is none. A part of a card (MIG) is not among them.
    """
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", QUERY, "--format=csv,noheader,nounits"]
    text = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in row.split(",")] for row in text.splitlines() if row.strip()]
    return [
        (int(total) * MIB, int(used) * MIB)
        for name in visible(len(rows), os.environ.get(VISIBLE))
        for index, uuid, total, used in rows
        if name == index or (not name.isdecimal() and uuid.startswith(name))
    ]
