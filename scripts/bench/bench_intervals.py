"""Measure how often intervals cover the truth, tests find nothing that is not there, and gates
decide as they say.

Reads   nothing: dialogues with correlated turns are drawn by a seed, so that the truth is known
Writes  docs/records/intervals.json (--record)
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import write_measurement
from bench.simulations import (
    METHODS,
    SCORE_MEAN,
    answers,
    correlated,
    dialogues,
    pair,
    scores,
    sums,
)
from mindtune.cli import argument_parser, run
from mindtune.evaluate import gates, intervals

CLUSTERS = (12, 20, 50, 200)
POLICY = {"better": "higher", "level": 0.95, "min_items": 0, "if_missing": "not_certified"}
GATE, METRICS, PRIMARY = "knowledge.accuracy", 8, 2


def coverage(clusters: int, repeats: int) -> list[dict[str, Any]]:
    """How often each method covers a value and a paired difference, and the type I error."""
    rng = np.random.default_rng(clusters)
    found: Counter = Counter()
    for _ in range(repeats):
        home = dialogues(rng, clusters)
        value = sums(home, scores(rng, home))
        change = sums(home, 3 * (scores(rng, home) - scores(rng, home)) / 20)
        for name, method in METHODS.items():
            for kind, data, truth in (("value", value, SCORE_MEAN), ("difference", change, 0)):
                low, high = method(data, rng)
                found[name, kind] += low <= truth <= high
    return [
        {
            "what": "correlated scores",
            "clusters": clusters,
            "method": name,
            "n": repeats,
            "covers values": found[name, "value"] / repeats,
            "covers differences": found[name, "difference"] / repeats,
            "type I": 1 - found[name, "difference"] / repeats,
        }
        for name in METHODS
    ]


def binary_coverage(clusters: int, repeats: int) -> dict[str, Any]:
    """As `coverage`, for shares of right answers of which about a fifth change."""
    rng = np.random.default_rng(1000 + clusters)
    found: Counter = Counter()
    for _ in range(repeats):
        home = dialogues(rng, clusters)
        base = answers(rng, home, 0.7)
        redrawn = ndtr(correlated(rng, home)) < 0.4
        tuned = np.where(redrawn, answers(rng, home, 0.7), base)
        right = sums(home, base)
        low, high = intervals.share_interval(right[:, 0], right[:, 1])
        found["value"] += low <= 0.7 <= high
        estimate = intervals.binary_difference(sums(home, tuned - base)[:, 0], right[:, 1])
        low, high = estimate.interval()
        found["difference"] += low <= 0 <= high
    return {
        "what": "correlated shares",
        "clusters": clusters,
        "method": "Wilson; Bonett-Price jackknife t",
        "n": repeats,
        "covers values": found["value"] / repeats,
        "covers differences": found["difference"] / repeats,
        "type I": 1 - found["difference"] / repeats,
    }


def family(clusters: int, repeats: int) -> dict[str, Any]:
    """How often a table of METRICS correlated metrics without any change finds something."""
    rng = np.random.default_rng(2000 + clusters)
    primary = [place < PRIMARY for place in range(METRICS)]
    alone = adjusted = 0
    for _ in range(repeats):
        home = dialogues(rng, clusters)
        shared = correlated(rng, home)
        changes = [shared + correlated(rng, home) for _ in range(METRICS)]
        ps = [intervals.jackknife(sums(home, c), intervals.ratio).p() for c in changes]
        alone += min(ps) < 0.05
        adjusted += min(intervals.adjust(ps, primary)) < 0.05
    return {
        "what": f"a table of {METRICS} metrics without change",
        "clusters": clusters,
        "method": "Holm, primary metrics apart",
        "n": repeats,
        "finds something": adjusted / repeats,
        "without adjustment": alone / repeats,
    }


def gate(n: int, max_loss: float, repeats: int) -> list[dict[str, Any]]:
    """How often a gate fails at no loss, at the loss that it says it notices, and at twice that."""
    rng = np.random.default_rng(n)
    policy = POLICY | {"max_loss": max_loss}
    detects = np.mean([gates.decide(GATE, policy, pair(rng, n, 0))["detects"] for _ in range(50)])
    rows = []
    for name, loss in (("none", 0.0), ("detectable", detects), ("twice that", 2 * detects)):
        verdicts = Counter(
            gates.decide(GATE, policy, pair(rng, n, loss))["verdict"] for _ in range(repeats)
        )
        rows.append(
            {
                "what": f"a gate with max_loss {max_loss:g}, true loss: {name}",
                "items": n,
                "n": repeats,
                "true loss": float(loss),
                **{verdict: verdicts[verdict] / repeats for verdict in ("passed", "failed")},
                "not certified": verdicts["not certified"] / repeats,
            }
        )
    return rows


def targets_met(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """{target: whether every row keeps it}."""
    chosen = [row for row in rows if row.get("method") == "jackknife t"]
    by_loss: dict[str, list[dict[str, Any]]] = {"none": [], "detectable": [], "that": []}
    for row in rows:
        if "items" in row:
            by_loss[row["what"].split()[-1]].append(row)
    return {
        "values": all(row["covers values"] >= 0.92 for row in chosen),
        "differences": all(0.93 <= row["covers differences"] <= 0.97 for row in chosen),
        "type I": all(0.03 <= row["type I"] <= 0.07 for row in chosen),
        "family-wise": all(row.get("finds something", 0) <= 0.07 for row in rows),
        "no loss passes": all(row["passed"] >= 0.95 for row in by_loss["none"]),
        "detectable loss fails": all(0.75 <= r["failed"] <= 0.85 for r in by_loss["detectable"]),
        "twice that fails": all(row["failed"] >= 0.98 for row in by_loss["that"]),
    }


TARGETS = {
    "values": ">= 0.92",
    "differences": "0.93 to 0.97",
    "type I": "0.03 to 0.07",
    "family-wise": "<= 0.07",
    "no loss passes": ">= 0.95",
    "detectable loss fails": "0.75 to 0.85",
    "twice that fails": ">= 0.98",
}
NOTE = (
    "Turns of 2 to 15 a dialogue with an intraclass correlation of 0.3; the targets of coverage "
    "are for jackknife t, which is what is printed. Percentiles were printed before; the "
    "bootstrap's t is what else was tried. The interval of a difference of shares covers more "
    "where few pairs are discordant. The loss that a gate notices is printed in its sentence."
)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=2000, help="simulations of each kind")
    parser.add_argument("--gates", type=int, default=400, help="simulations of each gate and loss")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()

    rows = [row for clusters in CLUSTERS for row in coverage(clusters, args.repeats)]
    rows += [binary_coverage(clusters, args.repeats) for clusters in CLUSTERS]
    rows += [family(clusters, args.repeats) for clusters in CLUSTERS]
    rows += [row for n, loss in ((1169, 0.06), (3000, 0.04)) for row in gate(n, loss, args.gates)]
    met = targets_met(rows)
    write_measurement(
        args.record,
        "Intervals, tests and gates of the evaluation, in simulation",
        packages=["numpy", "scipy"],
        runs=rows,
        median={},
        target=TARGETS,
        met=met,
        note=NOTE,
    )
    for row in rows:
        print(row)
    print(met)


if __name__ == "__main__":
    raise SystemExit(run(main))
