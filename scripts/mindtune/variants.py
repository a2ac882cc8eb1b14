"""Which runs differ by their seed alone: together they are one variant of the training."""

from collections.abc import Collection, Mapping
from typing import Any

from mindtune.config import leaves, run_settings
from mindtune.mixture import folder_of


def variants(config: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """{run: {"variant": name, "seed": seed}}; runs with the same name have the same dataset and
    the same settings but for the seed and for the keys `without`.

    A name says what differs between the variants here, `rank 8, learning_rate 0.0001`; it is "all
    runs" where nothing does.
    """
    settings = {
        run: dict(leaves({**run_settings(config, run), "dataset": folder_of(own)}))
        for run, own in config["runs"].items()
    }
    left_out = {("seed",), *((key,) for key in without)}
    first = next(iter(settings.values()))
    differ = [
        path
        for path in sorted(first)
        if path not in left_out and any(mine[path] != first[path] for mine in settings.values())
    ]
    return {
        run: {
            "variant": ", ".join(f"{path[-1]} {mine[path]}" for path in differ) or "all runs",
            "seed": mine[("seed",)],
        }
        for run, mine in settings.items()
    }
