"""Which run is the best by the loss of its adapter on the dev side."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import UserError


def dev_losses(
    histories: Mapping[str, Path], records: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """{run: dev loss at the step whose adapter was kept}, from history.csv and train_lora's record
    of each run.
    """
    return {
        name: dev_loss_at(path, records[name]["facts"]["kept_step"])
        for name, path in sorted(histories.items())
    }


def dev_loss_at(history: Path, step: int) -> float:
    """The dev loss of one step of a history; a step without one is a UserError."""
    with open(history, encoding="utf-8", newline="") as stream:
        found = [row["dev_loss"] for row in csv.DictReader(stream) if int(row["step"]) == step]
    if not found or not found[0]:
        raise UserError(
            f"{history} has no dev loss at step {step}, whose adapter was kept, so export.run "
            f"cannot choose by it; give the dataset a dev side (data.split.dev_share), or name a "
            f"run in export.run"
        )
    return float(found[0])


def lowest(losses: Mapping[str, float]) -> str:
    """The run with the lowest loss; of equal ones the first by name."""
    return min(sorted(losses), key=lambda name: losses[name])
