"""Runs that train on several data sets at once: what such a mixture is called, and which sets are
in it.

`runs.NAME.dataset` is the name of a data set, or a list of names. A list has one more folder in
results/data, named by all of them: `a+b`. No data set's own name has a `+`.
"""

from collections.abc import Mapping
from typing import Any

from mindtune.cli import UserError

JOIN = "+"
LONGEST = 200  # bytes of a folder's name; a file system has room for 255


def sets_of(run: Mapping[str, Any]) -> list[str]:
    """The data sets of a run's settings, by name."""
    named = run["dataset"]
    return [named] if isinstance(named, str) else sorted(named)


def folder_of(run: Mapping[str, Any]) -> str:
    """The folder in results/data that a run trains on: its data set's, or the mixture's."""
    return JOIN.join(sets_of(run))


def parts_of(folder: str) -> list[str]:
    """The data sets behind a folder of results/data."""
    return folder.split(JOIN)


def id_in(folder: str, dataset: str, identity: str) -> str:
    """The id of a data set's dialogue in a folder of results/data."""
    return f"{dataset}:{identity}" if is_mixture(folder) else identity


def is_mixture(folder: str) -> bool:
    """Whether a folder of results/data holds a mixture."""
    return JOIN in folder


def used_sets(config: Mapping[str, Any]) -> list[str]:
    """The data sets that any run trains on, in a mixture or alone, by name."""
    return sorted({name for run in config["runs"].values() for name in sets_of(run)})


def check_mixtures(config: Mapping[str, Any]) -> None:
    """Every run's data sets exist, and its `mix` speaks of these and does not contradict itself."""
    for run, settings in config["runs"].items():
        for name in sets_of(settings):
            if name not in config["datasets"]:
                raise UserError(
                    f"config key runs.{run}.dataset is {settings['dataset']!r}, and {name!r} is "
                    f"not among datasets ({', '.join(sorted(config['datasets']))}); name one of "
                    f"them or add it"
                )
        if len(folder_of(settings).encode()) > LONGEST:
            raise UserError(
                f"config key runs.{run}.dataset names data sets whose names have more than "
                f"{LONGEST} letters together, too long for the name of a folder; rename them"
            )
        check_mix(f"runs.{run}.mix", settings.get("mix", {}), sets_of(settings))


def check_mix(key: str, mix: Mapping[str, Any], sets: list[str]) -> None:
    """One run's `mix`."""
    if mix and len(sets) < 2:
        raise UserError(
            f"config key {key} is set, but the run has one data set, {sets[0]}; give "
            f"runs.NAME.dataset a list of several, or remove mix"
        )
    for part in ("weights", "max_tokens", "epochs"):
        for name in sorted(mix.get(part, {})):
            if name not in sets:
                raise UserError(
                    f"config key {key}.{part} names {name!r}, which is not among the run's data "
                    f"sets ({', '.join(sets)}); correct or remove it"
                )
    weights = mix.get("weights", {})
    if weights and mix.get("temperature") is not None:
        raise UserError(
            f"config keys {key}.weights and {key}.temperature both decide the shares of the data "
            f"sets; keep one of them"
        )
    if weights and (missing := [name for name in sets if name not in weights]):
        raise UserError(
            f"config key {key}.weights says nothing of {missing[0]!r}; give every data set of the "
            f"run a weight"
        )
