"""What a rule is worth on a labelled sample, as it stands beside the rule's verdicts."""

from collections.abc import Iterable
from typing import Any


def rule_worth(verdicts: Iterable[tuple[bool, bool]]) -> dict[str, Any]:
    """{"labelled", "found", "recall", "clear", "false", "false_positive_rate"} of pairs (what the
    label says, what the rule says); a rate of nothing is None.
    """
    rows = list(verdicts)
    hits = [said for true, said in rows if true]
    alarms = [said for true, said in rows if not true]
    return {
        "labelled": len(hits),
        "found": sum(hits),
        "recall": rate(sum(hits), len(hits)),
        "clear": len(alarms),
        "false": sum(alarms),
        "false_positive_rate": rate(sum(alarms), len(alarms)),
    }


def rate(part: int, whole: int) -> float | None:
    """A share to three decimals; None of nothing."""
    return round(part / whole, 3) if whole else None
