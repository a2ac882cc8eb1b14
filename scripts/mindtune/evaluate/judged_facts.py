"""What stands beside judged scores: who judged when, how many failed, how far judges agree, and the
rates corrected for the judge's error.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mindtune.cli import UserError
from mindtune.evaluate.agreement import agreement
from mindtune.evaluate.intervals import jackknife, ratio
from mindtune.evaluate.judge_error import (
    MIN_CALIBRATED,
    calibrate,
    corrected,
    corrected_interval,
)
from mindtune.evaluate.judged_scores import MODELS, Scores, counts, failure_words
from mindtune.evaluate.wording import judged_by

DECIMALS = 6
# Who played the clients of judged conversations
CLIENTS = {
    "scripted": "The clients followed a script: it shows that the chain works, and says nothing of "
    "a model.",
    "endpoint": "A model at an endpoint played the clients; drift.md says if they stayed clients.",
    "model": "A model folder played the clients; drift.md says if they stayed clients.",
}
People = dict[tuple[str, str, str], float]


def read_people(rows: Iterable[Mapping[str, Any]], rubric: str, run: str, place: str) -> People:
    """{(model, id, behaviour): 1 or 0} from rows {"question": RUBRIC.BEHAVIOUR, "id", "model",
    "passes"} of people's answers; a row that names another run is left out.
    """
    found: People = {}
    for number, row in enumerate(rows, 1):
        if (
            not isinstance(row, dict)
            or not isinstance(row.get("passes"), bool)
            or row.get("model") not in MODELS
            or not all(isinstance(row.get(key), str) for key in ("question", "id"))
        ):
            raise UserError(
                f"{place} line {number}: expected question (RUBRIC.BEHAVIOUR), id, model (base or "
                "tuned) and passes (true or false); correct the line"
            )
        name, _, behaviour = row["question"].partition(".")
        if name == rubric and row.get("run", run) == run:
            found[row["model"], row["id"], behaviour] = float(row["passes"])
    return found


def between_judges(found: Scores) -> dict[str, dict[str, Any]]:
    """{behaviour: measures of agreement} of two judges; empty with one."""
    judges = sorted(found.models)
    if len(judges) < 2:
        return {}
    result = {}
    for name, behaviour in found.rubric.behaviours.items():
        keys = [key for key in sorted(found.answers) if key[2] == name]
        if not behaviour.is_binary or not keys:
            continue
        values = np.array(
            [[found.answers[key].get(judge, np.nan) for judge in judges] for key in keys]
        )
        clusters = [found.replies[model][item].cluster for model, item, _ in keys]
        result[name] = {
            measure: rounded(one._asdict())
            for measure, one in agreement(values, (0, 1), clusters).items()
        } | {"n": len(keys)}
    return result


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that are the same on every machine."""
    return {
        key: round(one, DECIMALS) if isinstance(one, float) else one for key, one in values.items()
    }


def effective(values: np.ndarray, clusters: list[str]) -> float:
    """How many independent items would give the rate's error, at most those there are."""
    _, places = np.unique(clusters, return_inverse=True)
    sums = np.zeros((places.max() + 1, 2))
    np.add.at(sums, places, np.stack([values, np.ones_like(values)], axis=1))
    rate = float(values.mean())
    if len(sums) == len(values) or len(sums) < 2:
        return float(len(sums))
    error = jackknife(sums, ratio).error
    spread = rate * (1 - rate)
    return min(float(len(values)), spread / error**2) if spread and error else float(len(sums))


def corrected_rates(found: Scores, people: People) -> list[dict[str, Any]]:
    """A row a binary behaviour, judge and model that people's answers calibrate, with the rate as
    judged and as corrected; a behaviour with too few of them has no corrected rate.
    """
    rows = []
    for name, behaviour in found.rubric.behaviours.items():
        for judge in sorted(found.models) if behaviour.is_binary and people else []:
            mine = {
                key: said[judge]
                for key, said in found.answers.items()
                if key[2] == name and judge in said
            }
            both = [key for key in sorted(mine) if key in people]
            calibration = calibrate(
                np.array([mine[key] for key in both]), np.array([people[key] for key in both])
            )
            for model in MODELS:
                keys = [key for key in sorted(mine) if key[0] == model]
                if keys:
                    values = np.array([mine[key] for key in keys])
                    clusters = [found.replies[model][key[1]].cluster for key in keys]
                    row = {"behaviour": name, "judge": judge, "model": model, "n": len(keys)}
                    rows.append(row | corrected_row(values, clusters, calibration))
    return rows


def corrected_row(values: np.ndarray, clusters: list[str], calibration: Any) -> dict[str, Any]:
    """The rate as judged, the calibration, and the corrected rate if there is enough of it."""
    rate = float(values.mean())
    row: dict[str, Any] = {"judged": rate, **calibration._asdict()}
    row |= dict.fromkeys(("corrected", "low", "high"))
    if calibration.is_enough():
        row["corrected"] = corrected(rate, calibration.q0, calibration.q1)
        row["low"], row["high"] = corrected_interval(rate, effective(values, clusters), calibration)
    return rounded(row)


def note(found: Scores, about: str, record: Mapping[str, Any]) -> str:
    """What a reader must know before the numbers: judges, dates, numbers, failures, agreement."""
    asked = sum(side["asked"] for side in counts(found).values())
    failed = sum(side["failed"] for side in counts(found).values())
    items = max(len(rows) for rows in found.replies.values())
    raters = len(found.models)
    what = "conversations" if found.rubric.of_talks else "replies"
    said = [
        about,
        f"Judged by {judged_by(found.models, found.dates)}: {items} {what} a model, {raters} rater"
        f"{'s' if raters > 1 else ''}, {asked} answers, {failed} failed"
        + (f" ({failure_words(found)})." if failed else "."),
    ]
    if found.clients:
        said.append(CLIENTS[min(found.clients)])
    for name in sorted(found.models):
        if warning := record["judges"].get(name, {}).get("own_family"):
            said.append(f"{warning[0].upper()}{warning[1:]}.")
    for judge, flips in sorted(found.flips().items()):
        said.append(
            f"The order of two replies decided {flips['order_decided']} of {flips['compared']} "
            f"comparisons of {judge}."
        )
    return " ".join(said)


def agreement_note(between: Mapping[str, Any], rates: list[dict[str, Any]]) -> str:
    """Agreement in a sentence; without any it says so."""
    said = []
    if between:
        parts = [
            f"{name} raw {one['raw']['value']:.2f}, alpha {shown(one['alpha']['value'])}, AC2 "
            f"{shown(one['ac2']['value'])}"
            for name, one in between.items()
        ]
        said.append(f"Agreement of the judges: {'; '.join(parts)}.")
    calibrated = [row for row in rates if row["corrected"] is not None]
    if calibrated:
        parts = [
            f"{row['behaviour']} of {row['model']} {100 * row['corrected']:.1f} "
            f"({100 * row['low']:.1f} to {100 * row['high']:.1f}), as judged "
            f"{100 * row['judged']:.1f}"
            for row in calibrated
        ]
        said.append(f"Corrected for the judge's error by people's answers: {'; '.join(parts)}.")
    elif rates:
        said.append(f"People's answers are too few to correct a rate ({MIN_CALIBRATED} each side).")
    if not said:
        said.append("No agreement is known: one judge, and no answers of people.")
    return " ".join(said)


def shown(value: float | None) -> str:
    """A measure to two decimals; "-" where it is not defined."""
    return "-" if value is None else f"{value:.2f}"
