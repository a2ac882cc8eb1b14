"""The evaluation table, from the scores of several runs and suites: long for programs, wide in
Markdown and LaTeX.

Every scores record has facts {"suite", "rows", "paired"}: rows (system, metric, value, low, high,
n, signature) of the systems base, tuned and floor:NAME, and the paired differences tuned - base
(metric, difference, low, high, p).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from mindtune.markdown import markdown_text

COLUMNS = [
    "run",
    "suite",
    "system",
    "metric",
    "value",
    "low",
    "high",
    "p",
    "n",
    "n_dialogues",
    "signature",
]
DIFFERENCE = "tuned-base"
READING = (
    "Value (95 % interval). A difference is tuned - base on the same prompts, with its own "
    "interval and p value."
)
NOTES = {
    "dialogue": "Overlap with one reference is a regression check, not the quality of counselling."
}
TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
} | {character: "\\" + character for character in "&%$#_{}"}


def latex_text(text: str) -> str:
    """Text as itself inside LaTeX."""
    return text.translate(str.maketrans(TEX))


def long_table(scores: Iterable[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """One row per run, suite, system and metric, from (run, facts) pairs; differences are the
    system "tuned-base".
    """
    rows = []
    for run, facts in scores:
        about = {"run": run, "suite": facts["suite"]}
        rows += [about | row for row in facts["rows"]]
        base = {row["metric"]: row for row in facts["rows"] if row["system"] == "base"}
        for pair in facts["paired"]:
            same = {key: base[pair["metric"]].get(key) for key in ("n", "n_dialogues", "signature")}
            rows.append(about | same | pair | {"system": DIFFERENCE, "value": pair["difference"]})
    # Objects, so that counts stay whole numbers beside decimals.
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def comparable_runs(long: pd.DataFrame) -> list[pd.DataFrame]:
    """Split by suite, then by base and floor rows: runs share a table only if they were measured
    on the same prompts.
    """
    groups: dict[Any, list[pd.DataFrame]] = {}
    for (_, suite), part in long.groupby(["run", "suite"], sort=False):
        shared = part[~part["system"].isin(["tuned", DIFFERENCE])].drop(columns="run")
        groups.setdefault((suite, shared.to_csv(index=False)), []).append(part)
    return [pd.concat(parts) for parts in groups.values()]


def plain(value: float, decimals: int, sign: str = "") -> str:
    """A number for a cell: a count whole, the rest with fixed decimals and no negative zero."""
    return (
        f"{value:{sign}d}"
        if isinstance(value, int)
        else f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"
    )


def cell(row: Mapping[str, Any], decimals: int) -> str:
    """A value with its interval and p where it has them: "+2.10 (1.00 to 3.20), p 0.001"."""
    text = plain(row["value"], decimals, "+" if row["system"] == DIFFERENCE else "")
    if pd.notna(row["low"]):
        text += f" ({plain(row['low'], decimals)} to {plain(row['high'], decimals)})"
    if pd.notna(row["p"]):
        text += f", p {row['p']:.3f}" if row["p"] >= 0.0005 else ", p < 0.001"
    return text


def column_names(runs: Sequence[str], systems: Iterable[str]) -> dict[tuple[str, str], str]:
    """The wide table's columns in order, {(run, system): heading}: base, then tuned and difference
    by run, then floors.
    """
    names = {(runs[0], "base"): "base"}
    for run in runs:
        names |= {(run, "tuned"): f"tuned: {run}", (run, DIFFERENCE): f"{run} - base"}
    return names | {
        (runs[0], floor): floor.replace(":", ": ")
        for floor in systems
        if floor.startswith("floor:")
    }


def wide_table(group: pd.DataFrame) -> pd.DataFrame:
    """One row per metric, one column per system of one group of comparable runs, cells as text."""
    columns = column_names(list(dict.fromkeys(group["run"])), dict.fromkeys(group["system"]))
    rows = []
    for metric, part in group.groupby("metric", sort=False):
        # Shares and ratios need a third decimal, percentages do not.
        decimals = 3 if part["value"].abs().max() < 2 else 2
        found = {
            (row["run"], row["system"]): cell(row, decimals) for row in part.to_dict("records")
        }
        first = part.iloc[0]
        size = str(first["n"]) + (
            f" in {first['n_dialogues']}" if pd.notna(first["n_dialogues"]) else ""
        )
        rows.append(
            {"metric": metric}
            | {name: found.get(key, "") for key, name in columns.items()}
            | {"n": size}
        )
    return pd.DataFrame(rows)


def signatures(group: pd.DataFrame) -> dict[str, str]:
    """{metric: signature}, in the order of the table."""
    return dict(zip(group["metric"], group["signature"], strict=True))


def reading(group: pd.DataFrame) -> str:
    """How to read the table of a group of runs: what the cells are, what n counts, what the suite
    can show.
    """
    counted = ["n is replies in dialogues."] if group["n_dialogues"].notna().any() else []
    return " ".join(
        [READING, *counted, *([NOTES[s]] if (s := group["suite"].iloc[0]) in NOTES else [])]
    )


def markdown(long: pd.DataFrame) -> str:
    """The tables for a reader, each with its reading and the signatures of its metrics."""
    parts = []
    for group in comparable_runs(long):
        title = f"{group['suite'].iloc[0]}: {', '.join(dict.fromkeys(group['run']))}"
        table = wide_table(group).map(markdown_text).rename(columns=markdown_text)
        parts.append(f"## {markdown_text(title)}\n\n{reading(group)}\n")
        parts.append(table.to_markdown(index=False, disable_numparse=True) + "\n")
        # Code spans: signatures are full of bars. Nothing but a backtick ends one.
        found = {
            metric: " ".join(text.replace("`", "'").split())
            for metric, text in signatures(group).items()
        }
        parts.append(
            "".join(f"- {markdown_text(metric)}: `{text}`\n" for metric, text in found.items())
        )
    return "\n".join(parts)


def latex(long: pd.DataFrame) -> str:
    """The tables for a paper, as wide as its text, with the rules of the booktabs package."""
    parts = ["% needs \\usepackage{booktabs,graphicx}\n"]
    for number, group in enumerate(comparable_runs(long), 1):
        table = wide_table(group).map(latex_text).rename(columns=latex_text)
        tabular = table.to_latex(index=False, column_format="l" + "r" * (table.shape[1] - 1))
        caption = f"Suite {group['suite'].iloc[0]}. {reading(group)}"
        notes = "; ".join(
            f"{metric}: {signature}" for metric, signature in signatures(group).items()
        )
        parts.append(
            "\\begin{table}[htbp]\n"
            f"\\caption{{{latex_text(caption)}}}\n"
            f"\\label{{tab:evaluation-{number}}}\n"
            f"\\resizebox{{\\linewidth}}{{!}}{{%\n{tabular}}}\n"
            f"\\par\\footnotesize {latex_text(notes)}\n"
            "\\end{table}\n"
        )
    return "\n".join(parts)
