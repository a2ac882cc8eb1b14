"""The evaluation tables, from item scores alone: long for programs, readable in Markdown and LaTeX.

A comparison has a table of its own, metrics as rows; systems stand as rows beside each other in a
second one, so that no table grows wider with more runs or floors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mindtune.evaluate.items import FLOOR
from mindtune.evaluate.wording import interval, label, number, p_text, size
from mindtune.markdown import markdown_text

COLUMNS = [
    "run", "suite", "system", "metric", "stratum", "value", "low", "high", "p", "mde", "lost",
    "gained", "n", "n_clusters", "unscored", "signature",
]  # fmt: skip
DIFFERENCE = "tuned-base"
READING = (
    "Value and 95 % interval over clusters (dialogues, or questions with one stem). A difference "
    "is "
    "tuned - base on the same items. p is adjusted for all tests of the run (Holm); exact McNemar "
    "for shares of single items. n is items in clusters. MDE is the smallest true difference that "
    "such data show in 4 of 5 "
    "cases. Shares are in points of 100."
)
TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
} | {character: "\\" + character for character in "&%$#_{}"}

Row = Mapping[str, Any]


def latex_text(text: str) -> str:
    """Text as itself inside LaTeX."""
    return text.translate(str.maketrans(TEX))


def long_table(
    values: Sequence[Row],
    compared: Sequence[Row],
    signatures: Mapping[str, str],
    against: Sequence[Row] = (),
) -> pd.DataFrame:
    """One row a run, suite, system, metric and stratum, from `compare.system_values`,
    `compare.compare` and `baseline_comparison.compare_baselines`; differences are systems, too,
    such as "tuned-base". Values are as they were measured, shares from 0 to 1.
    """
    rows = [{**row, "system": row["model"]} for row in values]
    differences = [{"system": DIFFERENCE} | row for row in [*compared, *against]]
    rows += [row | {"value": row["difference"]} for row in differences]
    rows = [row | {"signature": signatures.get(row["metric"], "")} for row in rows]
    # Objects, so that counts stay whole numbers beside decimals.
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def in_order(rows: Sequence[Row], signatures: Mapping[str, str]) -> list[Row]:
    """Rows with metrics in the order of their signatures, unknown ones last, by stratum."""
    order = {metric: place for place, metric in enumerate(signatures)}
    return sorted(
        rows, key=lambda row: (row["stratum"], order.get(row["metric"], len(order)), row["metric"])
    )


def comparison_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Base and tuned of one run and suite, metrics as rows, cells as text."""
    cells = [
        {
            "metric": label(row),
            "base": number(row, "base") + interval(row, "base_"),
            "tuned": number(row, "tuned") + interval(row, "tuned_"),
            "tuned - base": number(row, "difference", "+") + interval(row),
            "p": p_text(row["p"]),
            "MDE": number(row, "mde"),
            "n": size(row),
        }
        for row in rows
    ]
    return pd.DataFrame(cells)


def homes(values: Sequence[Row]) -> dict[tuple[str, str], str]:
    """{(run, suite): the first run whose base has the very same values}: only such runs were
    measured on the same prompts, share base and floors, and may be compared.
    """
    bases: dict[tuple[str, str], list[Any]] = {}
    for row in values:
        if row["model"] == "base":
            found = row["metric"], row["stratum"], row["value"], row["n"]
            bases.setdefault((row["run"], row["suite"]), []).append(found)
    first: dict[str, str] = {}
    return {
        (run, suite): first.setdefault(f"{suite} {base}", run)
        for (run, suite), base in sorted(bases.items())
    }


def system_name(row: Row, home: str, only: bool) -> str:
    """A system as a table names it: base, tuned: RUN, floor: NAME; base and floors with the run
    they belong to where there are several.
    """
    if row["model"] == "tuned":
        return f"tuned: {row['run']}"
    name = str(row["model"]).replace(FLOOR, "floor: ")
    return name if only else f"{name} of {home}"


def systems_table(
    rows: Sequence[Row], columns: Sequence[str], home: Mapping[tuple[str, str], str]
) -> pd.DataFrame:
    """The systems of one suite and stratum as rows, the metrics `columns` as columns, values
    only. All values of a column are of one kind, which the models decide: what guessing gives is
    1 / 4 an item and no share of right ones, and a floor may be 0 everywhere.
    """
    scores = {row["metric"] for row in rows if not (row["binary"] or FLOOR in row["model"])}
    cells: dict[str, dict[str, str]] = {}
    places = {(row["run"], row["suite"]): home[row["run"], row["suite"]] for row in rows}
    for row in rows:
        mine = places[row["run"], row["suite"]]
        name = system_name(row, mine, only=len(set(places.values())) == 1)
        alike = {**row, "binary": row["metric"] not in scores}
        cells.setdefault(name, {}).setdefault(row["metric"], number(alike, "value"))
    models = sorted(
        cells, key=lambda name: (not name.startswith("base"), name.startswith("floor"), name)
    )
    return pd.DataFrame(
        [
            {"system": name} | {column: cells[name].get(column, "-") for column in columns}
            for name in models
        ]
    )


def sections(
    values: Sequence[Row], compared: Sequence[Row], signatures: Mapping[str, str]
) -> list[tuple[str, str, pd.DataFrame]]:
    """(title, suite, table) of every readable table: a comparison a run and suite, then a table of
    systems a suite and stratum that has floors or several runs.
    """
    found, home = [], homes(values)
    for suite in sorted({row["suite"] for row in values}):
        mine = in_order([row for row in compared if row["suite"] == suite], signatures)
        for run in sorted({row["run"] for row in mine}):
            table = comparison_table([row for row in mine if row["run"] == run])
            found.append((f"{suite}: {run}", suite, table))
        every = in_order([row for row in values if row["suite"] == suite], signatures)
        for stratum in sorted({row["stratum"] for row in every}):
            rows = [row for row in every if row["stratum"] == stratum and row["value"] is not None]
            columns = list(dict.fromkeys(row["metric"] for row in rows))
            table = systems_table(rows, columns, home)
            if len(table) > 2:
                named = f"{suite} ({stratum})" if stratum else suite
                found.append((f"{named}: systems", suite, table))
    return found


def reading(note: str) -> str:
    """How to read a suite's comparison: what the cells are, and what the suite can show."""
    return " ".join([READING, *([note] if note else [])])


def markdown(
    values: Sequence[Row],
    compared: Sequence[Row],
    signatures: Mapping[str, str],
    notes: Mapping[str, str],
) -> str:
    """The tables for a reader, each with its suite's note, then the signatures of their metrics."""
    parts, said = [], set()
    for title, suite, table in sections(values, compared, signatures):
        shown = table.map(markdown_text).rename(columns=markdown_text)
        parts.append(f"## {markdown_text(title)}\n")
        if suite not in said:
            parts.append(f"{reading(markdown_text(notes.get(suite, '')))}\n")
            said.add(suite)
        parts.append(shown.to_markdown(index=False, disable_numparse=True) + "\n")
    # Code spans: signatures are full of bars. Nothing but a backtick ends one.
    found = {name: " ".join(text.replace("`", "'").split()) for name, text in signatures.items()}
    parts.append("".join(f"- {markdown_text(name)}: `{text}`\n" for name, text in found.items()))
    return "\n".join(parts)


def latex(
    values: Sequence[Row],
    compared: Sequence[Row],
    signatures: Mapping[str, str],
    notes: Mapping[str, str],
) -> str:
    """The tables for a paper, as wide as its text, with the rules of the booktabs package."""
    parts = ["% needs \\usepackage{booktabs,graphicx}\n"]
    for count, (title, suite, table) in enumerate(sections(values, compared, signatures), 1):
        shown = table.map(latex_text).rename(columns=latex_text)
        caption = f"{title}. {reading(notes.get(suite, ''))}"
        tabular = shown.to_latex(index=False, column_format="l" + "r" * (shown.shape[1] - 1))
        parts.append(
            "\\begin{table}[htbp]\n"
            f"\\caption{{{latex_text(caption)}}}\n"
            f"\\label{{tab:evaluation-{count}}}\n"
            f"\\resizebox{{\\linewidth}}{{!}}{{%\n{tabular}}}\n"
            "\\end{table}\n"
        )
    notes = "; ".join(f"{name}: {signature}" for name, signature in signatures.items())
    return "\n".join([*parts, f"\\par\\footnotesize {latex_text(notes)}\n"])
