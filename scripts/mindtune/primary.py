"""Which metric of a suite is the one question that its p value answers."""

from collections.abc import Iterable

# The first of these that a suite has
PRIMARY = ("accuracy", "chrF", "safe", "honest", "passed", "refused", "over_refusal", "recalled")


def primary_metric(names: Iterable[str]) -> str:
    """The primary metric among those that a suite has; without a known one, the first by name."""
    known = set(names)
    return next((name for name in PRIMARY if name in known), min(known))
