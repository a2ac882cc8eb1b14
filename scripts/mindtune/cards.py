"""How many GPUs this machine has for the jobs of a start, where no cluster counts them."""

import os
from collections.abc import Mapping
from typing import Any

from mindtune.card_claims import VISIBLE, visible
from mindtune.cli import UserError
from mindtune.config import run_settings
from mindtune.preflight import read_nvml


def count_cards() -> int:
    """Cards that this process may use, as the driver counts them; 0 where there is no driver."""
    try:
        names = read_nvml()["names"]
    except UserError:
        return 0
    return len(visible(len(names), os.environ.get(VISIBLE)))


def check_runs(config: Mapping[str, Any], cards: int) -> None:
    """No run wants more cards than there are; Snakemake would give it fewer, and say nothing."""
    for run in sorted(config["runs"]):
        wanted = run_settings(config, run)["gpus"]
        if wanted > cards:
            raise UserError(
                f"run {run} has train.gpus {wanted} and this machine has {cards} to give; lower "
                f"it, or say how many there are with "
                f"--resources gpu={wanted} (on a cluster: --profile slurm-h100)"
            )
