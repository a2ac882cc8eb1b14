"""Simulated judges that err: how often the interval of a corrected rate covers it."""

from itertools import product
from typing import Any

import numpy as np
from mindtune.evaluate.judge_error import Calibration, corrected, corrected_interval

RATES, TRUTHS = (0.6, 0.7, 0.8, 0.9, 0.95), (0.2, 0.5, 0.8)


def coverage(repeats: int, n: int = 400, m: int = 200) -> list[dict[str, Any]]:
    """How often the interval of a corrected rate covers it, for judges good and bad; `n` items of
    the judge, `m` of people.
    """
    rows = []
    for q0, q1, theta in product(RATES, RATES, TRUTHS):
        generator = np.random.default_rng([int(100 * part) for part in (q0, q1, theta)])
        yes = np.clip(generator.binomial(m, theta, repeats), 1, m - 1)
        shared = generator.binomial(yes, q1), generator.binomial(m - yes, q0)
        rates = generator.binomial(n, theta * q1 + (1 - theta) * (1 - q0), repeats) / n
        hits = 0
        for place in range(repeats):
            found = Calibration(
                int(yes[place]), int(shared[0][place]), int(m - yes[place]), int(shared[1][place])
            )
            low, high = corrected_interval(float(rates[place]), n, found)
            hits += low <= theta <= high
        rows.append(
            {"what": "coverage", "q0": q0, "q1": q1, "theta": theta, "covers": hits / repeats}
        )
    return rows


def planted(theta: float = 0.8, q0: float = 0.85, q1: float = 0.9, n: int = 20_000) -> float:
    """The corrected rate of a set with a planted one."""
    generator = np.random.default_rng(1)
    truth = generator.random(n) < theta
    said = np.where(truth, generator.random(n) < q1, generator.random(n) >= q0)
    people = slice(0, n // 2)
    yes, no = said[people][truth[people]], ~said[people][~truth[people]]
    return corrected(float(said.mean()), float(no.mean()), float(yes.mean()))
