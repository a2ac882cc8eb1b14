"""Gates: may this model be published? Each decides on the interval of a paired difference.

A gate names a metric and the largest loss that is tolerated. It is a test of non-inferiority: it
passes if the whole interval lies above that loss. How small a loss it notices depends on the data,
so a gate says that too, and one whose data are too few to pass an unchanged model is refused: its
verdict is "not certified", neither passed nor failed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from mindtune.cli import UserError
from mindtune.evaluate.compare import LANGUAGES, better, compare_metric, difference
from mindtune.evaluate.intervals import MIN_CLUSTERS, POWER, Estimate
from mindtune.evaluate.items import Metric, split_metric
from mindtune.evaluate.systems import Scores, both_scored, systems

PASSED, FAILED, NOT_CERTIFIED = "passed", "failed", "not certified"
# An unchanged model must pass a gate in at least this share of cases.
PASSES_UNCHANGED = 0.95

Policy = Mapping[str, Any]


def split_gate(name: str) -> tuple[str, Metric]:
    """The suite and the metric of a gate's name, SUITE.METRIC or SUITE.METRIC@STRATUM."""
    suite, dot, metric = name.partition(".")
    if not dot or not suite or not metric:
        raise UserError(
            f"gate {name!r} names no suite and metric; expected SUITE.METRIC, such as "
            "knowledge.accuracy"
        )
    return suite, split_metric(metric)


def smallest_margin(found: Estimate, level: float) -> float:
    """The smallest tolerated loss with which an unchanged model passes often enough."""
    return float(stdtrit(found.freedom, [(1 + level) / 2, PASSES_UNCHANGED]).sum()) * found.error


def detectable_loss(found: Estimate, margin: float, level: float) -> float:
    """The true loss that fails a gate in 80 % of cases (POWER): less than what it tolerates,
    because the whole interval must lie above that.
    """
    quantiles = stdtrit(found.freedom, [(1 + level) / 2, POWER])
    return margin - float(quantiles[0] - quantiles[1]) * float(found.error)


def decide_measured(found: Estimate, policy: Policy, n: int) -> tuple[str, str]:
    """The verdict and its reason on a gain (positive is better) with its standard error.

    A gain or a loss beyond what is tolerated that the interval shows decides with any data.
    """
    margin, level = policy["max_loss"], policy["level"]
    low, high = found.interval(level)
    needed = smallest_margin(found, level)
    if high < -margin:
        return FAILED, f"the loss is larger than {margin:g}"
    if low > 0:
        return PASSED, "it got better"
    if n < policy["min_items"]:
        return NOT_CERTIFIED, f"{n:,} items, and the gate asks for {policy['min_items']:,}"
    if margin < needed:
        return NOT_CERTIFIED, (
            f"with n = {n:,} no tolerated loss below {needed:.3g} can be told from no change, and "
            f"the gate tolerates {margin:g}; use more items or tolerate more"
        )
    if low > -margin:
        return PASSED, f"a loss of {margin:g} is excluded"
    return FAILED, f"a loss of {margin:g} is not excluded"


def decide(name: str, policy: Policy, measured: tuple[Scores, Scores] | None) -> dict[str, Any]:
    """One gate's verdict: gate, verdict, sentence, and the numbers behind it, None where there are
    none.

    `measured` has base and tuned scores of the same items; None if nothing was measured.
    """
    row: dict[str, Any] = {"gate": name, "max_loss": policy["max_loss"], "level": policy["level"]}
    row |= dict.fromkeys(
        ("n", "n_clusters", "base", "tuned", "gain", "low", "high", "detects", "smallest_max_loss")
    )
    if measured is None:
        verdict = FAILED if policy["if_missing"] == "fail" else NOT_CERTIFIED
        return row | {"verdict": verdict, "sentence": f"{name}: {verdict}, it was not measured"}
    _, metric = split_gate(name)
    sign = {"higher": 1, "lower": -1}.get(policy["better"] or "", better(metric.name))
    if sign == 0:
        raise UserError(
            f"gate {name}: neither more nor less {metric.name} is better; say better: higher or "
            f"lower"
        )
    shown = compare_metric(metric, *measured)
    assert shown, "measured scores have items"
    row |= {key: shown[key] for key in ("n", "n_clusters", "base", "tuned")}
    row["gain"] = sign * shown["difference"]
    said = f"{name}: {shown['tuned']:.4g} against {shown['base']:.4g}"
    if shown["n_clusters"] < MIN_CLUSTERS:
        why = f"{shown['n_clusters']} clusters, and an interval needs {MIN_CLUSTERS}"
        return row | {"verdict": NOT_CERTIFIED, "sentence": f"{said}: {NOT_CERTIFIED}, {why}"}
    estimate = difference(metric, *measured)
    estimate = estimate._replace(value=sign * estimate.value)
    row["low"], row["high"] = estimate.interval(policy["level"])
    row["detects"] = detectable_loss(estimate, policy["max_loss"], policy["level"])
    row["smallest_max_loss"] = smallest_margin(estimate, policy["level"])
    verdict, why = decide_measured(estimate, policy, shown["n"])
    sees = f"; it notices a true loss of {row['detects']:.3g} in 4 of 5 cases"
    return row | {
        "verdict": verdict,
        "sentence": f"{said}, gain {row['gain']:+.3g} ({row['low']:.3g} to {row['high']:.3g}): "
        f"{verdict}, {why}" + (sees if row["detects"] > 0 and verdict != NOT_CERTIFIED else ""),
    }


def measured_by(
    metrics: tuple[Mapping[Metric, Scores], Mapping[Metric, Scores]], wanted: Metric
) -> list[tuple[Metric, tuple[Scores, Scores]]]:
    """Base and tuned scores that a gate is about; a gate without a stratum on a metric that is kept
    by language holds for every language.
    """
    names = (
        [wanted] if wanted.stratum else [wanted, *(wanted._replace(stratum=x) for x in LANGUAGES)]
    )
    found = []
    for name in names:
        if all(name in side for side in metrics):
            both = both_scored(*(side[name] for side in metrics))
            found += [(name, both)] if len(both[0].ids) else []
    return found


def decide_gates(
    items: pd.DataFrame, policies: Mapping[str, Policy], run: str
) -> list[dict[str, Any]]:
    """The verdicts of all gates on a run, in the order of their names; see `decide`."""
    mine = items[items["run"] == run]
    found = {(suite, model): rows for (suite, model), rows in systems(mine, ["suite", "model"])}
    rows = []
    for name, policy in sorted(policies.items()):
        suite, wanted = split_gate(name)
        sides = (found.get((suite, "base"), {}), found.get((suite, "tuned"), {}))
        about = measured_by(sides, wanted)
        for metric, both in about:
            rows.append(decide(f"{suite}.{metric}", policy, both))
        if not about:
            rows.append(decide(name, policy, None))
    return rows


def overall(verdicts: Sequence[str]) -> str:
    """The verdict of several gates: failed if one is, else not certified if one is; without any
    gate nothing was asked, and that is not certified either.
    """
    for verdict in (FAILED, NOT_CERTIFIED):
        if verdict in verdicts:
            return verdict
    return PASSED if verdicts else NOT_CERTIFIED
