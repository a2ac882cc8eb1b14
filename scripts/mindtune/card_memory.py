"""How much memory the cards of this machine have, and how much of it is taken."""

import shutil
import subprocess

MIB = 2**20


def card_memory() -> list[tuple[int, int]]:
    """(bytes in all, bytes in use) of each NVIDIA card of this machine; empty where there is
    none.
    """
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=memory.total,memory.used", "--format=csv,noheader,nounits"]
    rows = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")
    pairs = [tuple(int(cell) * MIB for cell in row.split(",")) for row in rows if row.strip()]
    return [(total, used) for total, used in pairs]
