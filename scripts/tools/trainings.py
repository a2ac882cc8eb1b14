"""The trainings of a working directory, finished or not, with their metrics by step."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import read_json
from mindtune.train.history import steps_taken

TRAIN = (
    "loss",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
    "mfu",
    "memory_gib",
    "gpu_percent",
    "watts",
)


METRICS = {name: f"train/{name}" for name in TRAIN} | {
    "dev_loss": "eval/loss",
    "eval_loss": "eval/loss",
}


@dataclass
class Training:
    """What the dashboard shows of one training: its metrics by step, and its settings where they
    are recorded.
    """

    name: str
    note: str = "finished"
    settings: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, dict[str, float]] = field(default_factory=dict)

    def add(self, step: int, line: Mapping[str, Any]) -> None:
        """Take a step's metrics from a line; a value that is no number (an exploded loss) has no
        place on a curve.
        """
        taken = self.steps.setdefault(step, {})
        for name, metric in METRICS.items():
            if line.get(name) not in ("", None) and math.isfinite(value := float(line[name])):
                taken[metric] = value

    def values(self) -> int:
        """How many values there are of all metrics."""
        return sum(map(len, self.steps.values()))


def finished(history: Path, record: Mapping[str, Any]) -> Training:
    """The training that left a history in results/runs/{run}/."""
    training = Training(history.parent.name, settings=record.get("params", {}))
    with open(history, encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            training.add(int(row["step"]), row)
    return training


def trainer_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(step, line) of the trainer's own log, which writes steps as `5/8`; a torn line and one of
    no step are left out.
    """
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            line = json.loads(text)
            yield int(line["global_step/max_steps"].partition("/")[0]), line
        except (json.JSONDecodeError, KeyError):
            continue


def unfinished(state: Path) -> Training:
    """A training that runs, was stopped, or was followed by one with other settings, as its
    state/train/{run}/{key}/ tells.

    What the observer's lines lack (learning rate, gradient norm, dev loss) is from the trainer's
    log, to 8 decimals.
    """
    training = Training(
        f"{state.parent.name} {state.name}", "not finished, or trained anew with other settings"
    )
    for step, line in trainer_lines(state / "logging.jsonl"):
        training.add(step, line)
    for line in steps_taken(state / "steps.jsonl"):
        training.add(line["step"], line)
    return training


def trainings(workdir: Path) -> list[Training]:
    """All trainings of a working directory, by name; a UserError if there is none."""
    found, keys = [], set()
    for history in workdir.glob("results/runs/*/history.csv"):
        file = history.with_name("train_lora.json")
        record = read_json(file) if file.is_file() else {}
        keys.add((history.parent.name, record.get("facts", {}).get("run_id")))
        found.append(finished(history, record))
    states = [steps.parent for steps in workdir.glob("state/train/*/*/steps.jsonl")]
    found += [unfinished(state) for state in states if (state.parent.name, state.name) not in keys]
    found = [training for training in found if training.values()]
    if not found:
        raise UserError(
            f"{workdir} has no training, neither results/runs/*/history.csv nor "
            f"state/train/*/*/steps.jsonl; "
            "train a run first, or name another WORKDIR"
        )
    return sorted(found, key=lambda training: training.name)
