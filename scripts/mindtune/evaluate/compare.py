"""Two systems on the same items: values, the paired difference, intervals by cluster, p values and
what could not have been seen.

`compare` is the one place where base meets tuned, or a run another run. It works on item scores
(items.py) alone.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

# Primary metrics, the first that a suite has: the one question that its p value answers.
PRIMARY = ("accuracy", "chrF", "safe", "passed", "refused")


def compare(
    items: pd.DataFrame,
    *,
    first: Mapping[str, str] = {"model": "base"},
    second: Mapping[str, str] = {"model": "tuned"},
) -> list[dict[str, Any]]:
    """Compare two systems on the items that both have, metric by metric.

    `items` is what `items.read_items` returns. `first` and `second` choose the systems by column,
    such as {"model": "base"} and {"model": "tuned"} of the same run (one comparison a run), or
    {"run": "a", "model": "tuned"} and {"run": "b", "model": "tuned"}. Returns one row a run, suite
    and metric, sorted, with

    run, suite, metric, stratum   stratum is "" for all items
    primary             True for the suite's primary metric (PRIMARY)
    n, n_clusters       items that both systems have scores for, and their clusters
    asked, unscored     items that were asked; of them, those with null in either system
    binary              True if all values are 0 or 1
    base, base_low, base_high, tuned, tuned_low, tuned_high
                        values and 95 % intervals: Wilson's for shares, jackknife t otherwise
    difference, low, high   second - first, with its 95 % interval by cluster
    p                   adjusted for all p values of the run (Holm, primary metrics first);
                        None for a stratum that is no language
    p_alone             the same without adjustment: exact McNemar where binary and unclustered
    lost, gained        for binary metrics: items right in first only, in second only
    mde                 the smallest true difference that such a comparison finds in 80 % of cases

    Below 10 clusters every interval, p and mde is None.
    """
    raise NotImplementedError
