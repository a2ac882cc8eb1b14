"""What a training did, from its observer's lines and the trainer's log: the table of its steps, its
loss curve, its cost, and whether it consumed what was planned.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import partial
from mindtune.train.figures import loss_curve

GPU_COLUMNS = [
    "seconds",
    "tokens_per_second",
    "mfu",
    "memory_gib",
    "gpu_percent",
    "watts",
    "joules",
]


def steps_taken(file: Path) -> list[dict[str, Any]]:
    """The observer's lines, one a step: a step that a killed job repeated counts once, as it was
    done last.
    """
    lines: dict[int, dict[str, Any]] = {}
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue  # cut off by a kill; its step was done again
        lines[line["step"]] = line
    return [lines[step] for step in sorted(lines)]


def reconcile(
    lines: list[dict[str, Any]], planned: dict[str, Any], settings: dict[str, Any], cached: Path
) -> dict[str, Any]:
    """What the model was given, added up; a UserError if that is not what pack_stats planned.

    Several GPUs get equally many micro-batches: what the last round of an epoch lacks is filled
    with packs that were given before.
    """
    given = {key: sum(line[key] for line in lines) for key in ("rows", "tokens", "packs")} | {
        "steps": len(lines)
    }
    wanted = {key: planned[key] * settings["epochs"] for key in ("rows", "tokens", "packs")} | {
        "steps": planned["steps"]
    }
    repeated = (
        -planned["packs"] % (settings["batch_size"] * settings["gpus"])
        if settings["gpus"] > 1
        else 0
    )
    if (
        repeated
        and given["steps"] == wanted["steps"]
        and given["packs"] == wanted["packs"] + repeated * settings["epochs"]
    ):
        return given | given_sets(lines)
    for key, value in given.items():
        if value != wanted[key]:
            raise UserError(
                f"the trainer was given {value} {key} and pack_stats planned {wanted[key]}; "
                f"the cached data set is not the one that was planned for, so delete {cached} and "
                "run again"
            )
    shares = given_sets(lines)
    check_sets(shares, planned.get("by_dataset", {}), settings["epochs"], cached)
    return given | shares


def given_sets(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Tokens of each data set of a mixture that the model was given, and their share."""
    tokens: Counter[str] = Counter()
    for line in lines:
        tokens.update(line.get("datasets", {}))
    return {
        "by_dataset": {
            name: {"tokens": count, "share": round(count / tokens.total(), 6)}
            for name, count in sorted(tokens.items())
        }
    } if tokens else {}  # fmt: skip


def check_sets(shares: dict[str, Any], planned: dict[str, Any], epochs: int, cached: Path) -> None:
    """Every data set of a mixture gave the tokens that were planned; else a UserError."""
    given = shares.get("by_dataset", {})
    for name, plan in planned.items():
        found = given.get(name, {}).get("tokens", 0)
        if found != plan["tokens"] * epochs:
            raise UserError(
                f"the trainer was given {found} tokens of data set {name} and pack_stats planned "
                f"{plan['tokens'] * epochs}; delete {cached} and run again"
            )


def cost(lines: list[dict[str, Any]], gpus: int = 1) -> dict[str, Any]:
    """Time and energy of the steps; a GPU's part is absent on a CPU.

    The first step of every start compiles kernels, so tokens a second are given with all steps and
    without those.
    """
    seconds = sum(line["seconds"] for line in lines)
    facts = {"step_seconds": seconds, "tokens_per_second": rate(lines)}
    if all("joules" in line for line in lines):
        facts |= {
            "tokens_per_second_after_the_first_step": rate(
                [line for line in lines if "after_start" not in line]
            ),
            "gpu_hours": gpus * seconds / 3600,
            "kilowatt_hours": sum(line["joules"] for line in lines) / 3.6e6,
            "peak_memory_gib": max(line["memory_gib"] for line in lines),
            "start_seconds": lines[0].get("after_start"),
        }
    return facts


def rate(lines: list[dict[str, Any]]) -> float | None:
    """Tokens a second of steps; None of no steps."""
    if not lines:
        return None
    return sum(line["tokens"] for line in lines) / sum(line["seconds"] for line in lines)


def write_history(
    log: list[dict[str, Any]], lines: list[dict[str, Any]], history: Path, figure: Path
) -> dict[str, Any]:
    """Write one row a step, and the loss curve; return facts.

    Loss and what was measured of the GPU are of every step; learning rate and gradient norm of the
    logged ones. Times are not in it on a CPU, where equal runs give equal bytes.
    """
    import pandas

    evaluations = [entry for entry in log if "eval_loss" in entry]
    dev = {entry["step"]: entry["eval_loss"] for entry in evaluations}
    logged = {entry["step"]: entry for entry in log if "loss" in entry}
    columns = ["step", "loss", "packs", "rows", "tokens"] + (
        GPU_COLUMNS if "joules" in lines[0] else []
    )
    table = pandas.DataFrame(lines).reindex(columns=columns)
    for name in ("epoch", "learning_rate", "grad_norm"):
        table[name] = table["step"].map({step: entry[name] for step, entry in logged.items()})
    table["dev_loss"] = table["step"].map(dev)
    with partial(history) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    loss_curve(figure, [(line["step"], line["loss"]) for line in lines], sorted(dev.items()))
    return {
        "first_loss": lines[0]["loss"],
        "last_loss": lines[-1]["loss"],
        "first_dev_loss": evaluations[0]["eval_loss"] if evaluations else None,
        "last_dev_loss": evaluations[-1]["eval_loss"] if evaluations else None,
    }
