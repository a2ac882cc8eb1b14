"""Numbers and sentences about a comparison, the same in tables, summary and figure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mindtune.evaluate.compare import better
from mindtune.evaluate.intervals import MIN_CLUSTERS
from mindtune.markdown import markdown_text

# Shares are shown in points of 100, as BLEU and chrF are.
SHARES = {
    *("repetition", "distinct-1", "distinct-2", "empty", "truncated", "passed"),
    *("preferred", "preferred_equal_length"),
}
ALPHA = 0.05

Row = Mapping[str, Any]


def in_points(row: Row) -> bool:
    """True for a metric that is shown from 0 to 100 though its values go from 0 to 1."""
    return bool(row.get("binary")) or row["metric"] in SHARES


def decimals(row: Row) -> int:
    """Decimals of a metric: overlap scores and ratios need two, shares in points one."""
    return 1 if in_points(row) else 2


def number(row: Row, key: str, sign: str = "") -> str:
    """One number of a row as it is shown; "-" where there is none, and no negative zero."""
    if row[key] is None:
        return "-"
    scaled = row[key] * (100 if in_points(row) else 1)
    return f"{round(scaled, decimals(row)) + 0.0:{sign}.{decimals(row)}f}"


def interval(row: Row, prefix: str = "") -> str:
    """ " (1.0 to 3.2)", or nothing where there is no interval."""
    low, high = (number(row, prefix + end) for end in ("low", "high"))
    return "" if low == "-" else f" ({low} to {high})"


def p_text(p: float | None) -> str:
    """An adjusted p; "-" where none is given."""
    return "-" if p is None else "< 0.001" if p < 0.0005 else f"{p:.3f}"


def size(row: Row) -> str:
    """The number of items, and of clusters where they are fewer; "all" for one value of them
    all.
    """
    if row["n"] == 1:
        return "all"
    clusters = f" in {row['n_clusters']:,}" if row["n_clusters"] != row["n"] else ""
    return f"{row['n']:,}{clusters}"


def label(row: Row) -> str:
    """A metric with its language or other stratum."""
    return f"{row['metric']} ({row['stratum']})" if row["stratum"] else str(row["metric"])


def gain(row: Row) -> float:
    """The difference, positive if it got better; 0 where neither is better."""
    return better(row["metric"]) * row["difference"]


def is_worse(row: Row) -> bool:
    """True if the tuned model's value is the worse one, by however little."""
    return gain(row) < 0


def is_shown(row: Row) -> bool:
    """True if the 95 % interval of the difference excludes 0."""
    return row["low"] is not None and (row["low"] > 0 or row["high"] < 0)


def verdict(row: Row) -> str:
    """What a difference means, in words: a change that survives the adjustment for all tests, one
    that only its own interval shows, or none.
    """
    if row["low"] is None:
        return (
            f"too few to judge ({row['n_clusters']} clusters, and an interval needs {MIN_CLUSTERS})"
        )
    way = {1: "better", -1: "worse", 0: "changed"}[(gain(row) > 0) - (gain(row) < 0)]
    if row["p"] is not None and row["p"] < ALPHA:
        return f"{way} (p {p_text(row['p'])})"
    if is_shown(row):
        return f"{way} by its own interval, not after adjustment for all tests"
    return "no detectable change"


def sentence(row: Row) -> str:
    """A suite in one sentence: "knowledge: 61.2 against 60.4, +0.8 (-0.9 to 2.5): no detectable
    change; smaller than 2.3 cannot be seen with n = 1,169".
    """
    which = f" {label(row)}" if row["stratum"] or row["metric"] != "accuracy" else ""
    said = (
        f"{row['suite']}{which}: {number(row, 'tuned')} against {number(row, 'base')}, "
        f"{number(row, 'difference', '+')}{interval(row)}: {verdict(row)}"
    )
    items = f"n = {size(row)}" + (" clusters" if row["n_clusters"] != row["n"] else "")
    if row["mde"] is None:
        return f"{said}; {items}"
    return f"{said}; smaller than {number(row, 'mde')} cannot be seen with {items}"


def of(row: Row, part: str, whole: str) -> str:
    """A share of a rule's worth with its numbers, such as "0.86, 19 of 22"."""
    share = f"{row[part] / row[whole]:.2f}, " if row[whole] else ""
    return f"{share}{row[part]} of {row[whole]}"


def note_of(facts: Mapping[str, Any]) -> str:
    """What a suite's table says beside its numbers, from the record of its scores: the suite's own
    note, and what its rules are worth on a labelled sample.
    """
    worth = [
        f"{name.replace('_', ' ')} {of(row, 'found', 'labelled')} and {of(row, 'false', 'clear')}"
        for name, row in facts.get("rules", {}).items()
    ]
    note = [facts["note"]] if facts.get("note") else []
    if worth:
        note.append(
            "Rules on a labelled sample, recall and false positives: " + "; ".join(worth) + "."
        )
    return " ".join(note)


def judged_by(models: Mapping[str, str], dates: Collection[str]) -> str:
    """Which judges, {name: model}, judged when: "judge (model) on 2026-11-28"."""
    judges = ", ".join(f"{name} ({model})" for name, model in sorted(models.items()))
    days = sorted(dates)
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "no date"
    return f"{judges} on {when}"


def who_judged(records: Iterable[Mapping[str, Any]]) -> str:
    """The summary's part about judges, as Markdown, a line a suite and run; empty without any."""
    lines = sorted(
        f"{record['facts']['suite']}, run {record['params']['run']}: "
        f"{judged_by(record['facts']['judges'], record['facts']['dates'])}"
        for record in records
        if record["stage"] == "score_judged"
    )
    text = "".join(f"- {markdown_text(line)}\n" for line in lines)
    return f"\n## Who judged\n\n{text}" if lines else ""
