"""The form of a rating sheet as CSV, for any spreadsheet.

One row a reply: COLUMNS, then a column a question, then a note. The row called `question` holds the
questions themselves. Rows end with CRLF and the file begins with a BOM, as Excel wants it.

The replies are strangers' text. A cell that a spreadsheet could take for a formula gets an
apostrophe before it, and so does a cell that begins with one; reading takes one away.
"""

import csv
import io
from collections.abc import Mapping
from typing import Any

COLUMNS = ("sheet", "rater", "row", "lang", "prompt", "reply")
NOTE = "note"
QUESTIONS = "question"
NOT_ASKED = "-"
BOM = "\ufeff"
# Excel reads the wide forms of Chinese keyboards as formulas, too
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "'")


def as_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula; `as_text` gives it back."""
    risky = text.startswith(("\t", "\r")) or text.lstrip().startswith(FORMULA)
    return "'" + text if risky else text


def as_text(cell: str) -> str:
    """What a cell that `as_cell` made says."""
    return cell.removeprefix("'")


def header(key: Mapping[str, Any]) -> list[str]:
    """The names of a sheet's columns."""
    return [*COLUMNS, *(question["name"] for question in key["seen"]["questions"]), NOTE]


def empty_sheet(key: Mapping[str, Any], rater: str) -> str:
    """A rater's sheet before an answer is in it; what is not asked of a reply holds a dash."""
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(header(key))
    questions = key["seen"]["questions"]
    said = [f"{question['zh']} / {question['en']}" for question in questions]
    writer.writerow([key["sheet"], rater, QUESTIONS, "", "", "", *map(as_cell, said), ""])
    for row in key["seen"]["rows"]:
        texts = (as_cell(row["prompt"]), as_cell(row["reply"]))
        cells = ("" if one["name"] in row["asked"] else NOT_ASKED for one in questions)
        writer.writerow([key["sheet"], rater, row["row"], row["lang"], *texts, *cells, ""])
    return BOM + stream.getvalue()
