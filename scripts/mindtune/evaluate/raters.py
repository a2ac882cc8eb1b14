"""What raters said, as figures: their agreement beside the judge's, and base against tuned.

A unit is one reply. Units of one dialogue are one cluster, which intervals leave out together.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mindtune.evaluate import agreement
from mindtune.evaluate.agreement import Agreed
from mindtune.evaluate.intervals import MIN_CLUSTERS, binary_difference, share_interval
from mindtune.evaluate.items import read_items
from mindtune.evaluate.rating_sheet import MODELS
from mindtune.evaluate.sheet_reading import Filled
from mindtune.markdown import markdown_text

COLUMNS = ["question", "who", "measure", "value", "low", "high", "units", "clusters", "raters"]
HUMANS = "human-human"
RATES = "humans"
DIFFERENCE = "tuned-base"
HEADS = {"raw": "raw", "alpha": "alpha", "ac2": "AC2"}
READING = (
    "Raw is the share of pairs of raters that gave a reply the same answer; alpha is "
    "Krippendorff's, AC2 Gwet's, nominal for yes and no and ordinal for longer scales. A judge's "
    "row is the mean of its agreement with each rater: read it beside the row of the people, which "
    "is as high as a judge can be expected to come. Shares are of the best answer, over raters and "
    "replies. Intervals are 95 %, over dialogues."
)

Row = dict[str, Any]
# {(question, id of the item, model): answer} of one judge
Verdicts = Mapping[tuple[str, str, str], float]


class Ratings:
    """The answers to one question: units and their clusters and models, ratings of shape (units,
    raters), and the scale.
    """

    def __init__(self, key: Mapping[str, Any], sheets: Sequence[Filled], question: Row) -> None:
        self.name, self.most = question["name"], question["most"]
        asked = {row["row"] for row in key["seen"]["rows"] if self.name in row["asked"]}
        self.units = [row for row in key["hidden"] if row["row"] in asked]
        self.values = np.array(
            [[sheet.answers[unit["row"]][self.name] for sheet in sheets] for unit in self.units],
            dtype=float,
        )
        self.clusters = [f"{unit['suite']}\0{unit['cluster']}" for unit in self.units]
        self.models = np.array([unit["model"] for unit in self.units])

    def agreed(self, values: np.ndarray) -> dict[str, Agreed]:
        """Every measure of agreement of ratings, shape (units, raters)."""
        scale = "nominal" if self.most == 1 else "ordinal"
        return agreement.agreement(values, range(self.most + 1), self.clusters, scale)

    def about(self, raters: int) -> Row:
        """The counts of a table's row."""
        counts = {"units": len(self.units), "clusters": len(set(self.clusters)), "raters": raters}
        return {"question": self.name} | counts


def read_verdicts(paths: Sequence[Path], key: Mapping[str, Any]) -> dict[str, Verdicts]:
    """The answers of the judge in item scores, where a rubric is a suite and a behaviour a metric,
    to the questions of a sheet; empty if nothing was judged. Where two judges differ there is none.
    """
    most = {question["name"]: question["most"] for question in key["seen"]["questions"]}
    frame = read_items(paths)
    frame = frame[(frame["run"] == key["run"]) & frame["model"].isin(MODELS)]
    found = {}
    for row in frame.dropna(subset=["value"]).itertuples():
        name = f"{row.suite}.{row.metric}"
        if name in most and row.value == int(row.value):
            passes = most[name] > 1 or key["good"][name]
            found[name, row.id, row.model] = row.value if passes else 1 - row.value
    return {"judge": found} if found else {}


def mean_agreed(found: Sequence[Mapping[str, Agreed]]) -> dict[str, Agreed]:
    """The mean of several agreements; its interval is the mean of theirs, and so no narrower than
    that of one rater.
    """
    return {
        measure: Agreed(*(None if None in part else float(np.mean(part)) for part in parts))
        for measure in agreement.MEASURES
        for parts in [list(zip(*(one[measure] for one in found), strict=True))]
    }


def with_judge(ratings: Ratings, verdicts: Verdicts) -> dict[str, Agreed] | None:
    """The judge's agreement with each rater, on average, over the replies that it judged."""
    said = np.array(
        [verdicts.get((ratings.name, unit["id"], unit["model"]), np.nan) for unit in ratings.units]
    )
    if np.isnan(said).all():
        return None
    pairs = (np.stack([said, human], axis=1) for human in ratings.values.T)
    return mean_agreed(
        [ratings.agreed(np.where(np.isnan(said)[:, None], np.nan, p)) for p in pairs]
    )


def rates(ratings: Ratings, good: bool) -> Iterator[tuple[str, Agreed]]:
    """The shares of base and tuned, and their difference if it was asked of both replies of every
    pair, each with its interval.
    """
    scores = ratings.values.mean(axis=1) / ratings.most
    scores = scores if good or ratings.most > 1 else 1 - scores
    _, places = np.unique(ratings.clusters, return_inverse=True)
    if set(ratings.models) != set(MODELS):
        return
    few = places.max() + 1 < MIN_CLUSTERS
    sums = {}
    for model in MODELS:
        mine = ratings.models == model
        sums[model] = tuple(
            np.bincount(places[mine], weights=weights, minlength=places.max() + 1)
            for weights in (scores[mine], np.ones(mine.sum()))
        )
        won, n = (part[sums[model][1] > 0] for part in sums[model])
        between = (None, None) if few else share_interval(won, n)
        yield model, Agreed(float(won.sum() / n.sum()), *between)
    (base, n), (tuned, also) = sums["base"], sums["tuned"]
    if (n != also).any():
        return
    value = float((tuned - base).sum() / n.sum())
    between = (None, None) if few else binary_difference(tuned - base, n).interval()
    yield DIFFERENCE, Agreed(value, *between)


def majority(key: Mapping[str, Any], sheets: Sequence[Filled]) -> Iterator[Row]:
    """What most raters said of each reply, yes-or-no questions only and without ties, in the form
    that judge.people takes.
    """
    for question in key["seen"]["questions"]:
        ratings = Ratings(key, sheets, question)
        for unit, share in zip(ratings.units, ratings.values.mean(axis=1), strict=True):
            if ratings.most == 1 and share != 0.5:
                about = {"question": ratings.name, "id": unit["id"], "model": unit["model"]}
                yield about | {"passes": bool(share > 0.5) == key["good"][ratings.name]}


def table(
    key: Mapping[str, Any], sheets: Sequence[Filled], judges: Mapping[str, Verdicts]
) -> pd.DataFrame:
    """One row a question, who agrees, and measure: COLUMNS. `judges` are verdicts by the judge's
    name.
    """
    rows = []
    for question in key["seen"]["questions"]:
        ratings = Ratings(key, sheets, question)
        about = ratings.about(len(sheets))
        said = {HUMANS: ratings.agreed(ratings.values)}
        said |= {
            f"{name}-human": found
            for name, verdicts in sorted(judges.items())
            if (found := with_judge(ratings, verdicts))
        }
        said[RATES] = dict(rates(ratings, key["good"][ratings.name]))
        for who, measures in said.items():
            for measure, found in measures.items():
                rows.append(about | {"who": who, "measure": measure} | found._asdict())
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def shown(value: float | None, low: float | None, high: float | None) -> str:
    """A value with its interval, or a dash."""
    if value is None:
        return "-"
    return f"{value:.2f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")


def wide(rows: pd.DataFrame, heads: Mapping[str, str]) -> str:
    """Questions as rows and measures as columns, in Markdown."""
    cells: dict[tuple[str, str], Row] = {}
    for row in rows.to_dict("records"):
        size = f"{row['units']} in {row['clusters']}"
        entry = cells.setdefault(
            (row["question"], row["who"]),
            {"question": row["question"], "who": row["who"], "replies": size},
        )
        entry[heads[row["measure"]]] = shown(row["value"], row["low"], row["high"])
    found = pd.DataFrame(list(cells.values())).fillna("-").map(markdown_text)
    return found.to_markdown(index=False, disable_numparse=True) + "\n"


def markdown(found: pd.DataFrame, key: Mapping[str, Any], judges: Sequence[str]) -> str:
    """The tables for a reader: agreement first, then what it was that the raters agreed on."""
    raters = int(found["raters"].iloc[0])
    judged = f"judged by {', '.join(judges)}" if judges else "not judged: no verdicts were given"
    is_rate = found["who"] == RATES
    return "\n".join(
        [
            "## People\n",
            f"Run {markdown_text(key['run'])}, {raters} raters, sheet {key['sheet']}; "
            f"{markdown_text(judged)}. {READING}\n",
            wide(found[~is_rate], HEADS),
            wide(found[is_rate], {name: name for name in (*MODELS, DIFFERENCE)}),
        ]
    )
