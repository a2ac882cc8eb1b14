"""Read a sheet that a rater filled in, whatever a spreadsheet made of it.

Put right, since nothing is lost by it: the order of rows and columns, a BOM, line ends, semicolons
or tabs instead of commas, GBK or UTF-16 instead of UTF-8, full-width digits, 是 and 否. Refused,
with the cell's name: an empty cell, a date, another value, another prompt or reply than was sent,
a row that is missing, doubled or new, a sheet of other replies.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.sheet_csv import COLUMNS, NOT_ASKED, NOTE, QUESTIONS, as_text, header

WORDS = {"yes": 1, "y": 1, "true": 1, "是": 1, "no": 0, "n": 0, "false": 0, "否": 0}
# 2026/1/1, 1900-01-00, 1月1日, 1-Jan, Jan-26: what Excel shows of a number once a cell is a date
DATE = re.compile(
    r"\d{1,4}[-/.年]\d{1,2}[-/.月]\d{1,4}日?( \d.*)?|\d{1,4}[-/]\d{1,2}|\d{1,2}月\d{1,2}日"
    r"|\d{1,2}-[a-z]{3}(-\d+)?|[a-z]{3}-\d{1,2}",
    re.I,
)
MOST_SHOWN = 40
Row = dict[str, str]


@dataclass(frozen=True)
class Filled:
    """One rater's answers {row: {question: answer}}, and whether the rows came in another order."""

    rater: str
    answers: Mapping[str, Mapping[str, int]]
    reordered: bool


def decoded(path: Path) -> tuple[str, str]:
    """A file's text and its encoding: UTF-8 or UTF-16 with their marks, UTF-8, else GBK."""
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        tries: Sequence[str] = ("utf-16",)
    else:
        tries = ("utf-8-sig", "gb18030")
    for encoding in tries:
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise UserError(
        f"{path} is text neither in UTF-8 nor in GBK; save the sheet as 'CSV UTF-8' and give that"
    )


def table(path: Path) -> tuple[list[str], list[tuple[int, Row]], str]:
    """The header, the rows with their line numbers, and the encoding; empty rows are left out."""
    text, encoding = decoded(path)
    lines = text.lstrip("\r\n")
    if lines[:4].lower() == "sep=":
        lines = lines.partition("\n")[2]
    found = re.match(r'"?([\w.-]+)"?([,;\t])', lines)
    if not found:
        raise UserError(
            f"{path} has no header of a rating sheet; expected columns {', '.join(COLUMNS)} ... "
            f"with commas, semicolons or tabs between them: save the sheet as CSV"
        )
    reader = csv.reader(io.StringIO(lines, newline=""), delimiter=found[2])
    try:
        names = [name.strip() for name in next(reader)]
        cells = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise UserError(f"{path} is no CSV ({error}); save the sheet as CSV again") from None
    return names, [(line, dict(zip(names, row, strict=False))) for line, row in cells], encoding


def check_header(path: Path, names: Sequence[str], wanted: Sequence[str], rows: Sequence) -> None:
    """Every column once, and no other with something in it."""
    for name in wanted:
        if names.count(name) != 1 and not (name == NOTE and name not in names):
            raise UserError(
                f"{path} has the column {name!r} {names.count(name)} times; expected it once: take "
                f"the header from the sheet that was sent"
            )
    for name in names:
        if name not in wanted and any(row.get(name, "").strip() for _, row in rows):
            raise UserError(
                f"{path} has a column {name!r} that was not sent; move what it says to {NOTE!r}"
            )


def answer(cell: str, most: int, where: str) -> int:
    """The number in a cell, from 0 to `most`."""
    said = unicodedata.normalize("NFKC", as_text(cell)).strip()
    if not said:
        raise UserError(f"{where} is empty; a sheet counts when every cell has its answer")
    if most == 1 and said.casefold() in WORDS:
        return WORDS[said.casefold()]
    number = re.fullmatch(r"(\d{1,3})([.,]0+)?", said)
    if number and int(number[1]) <= most:
        return int(number[1])
    if DATE.fullmatch(said):
        raise UserError(
            f"{where} is {said!r}, which a spreadsheet made of a number by showing it as a date; "
            f"set the cells to 'text' and type the answer again (0 to {most})"
        )
    shown = said[:MOST_SHOWN]
    raise UserError(f"{where} is {shown!r}; expected a whole number from 0 to {most}")


def squeezed(text: str, encoding: str) -> str:
    """Text without what a spreadsheet or its encoding may change: white space, control characters,
    and in GBK every character that it lacks, for which a question mark stands.
    """
    kept = (sign for sign in text if not sign.isspace() and unicodedata.category(sign)[0] != "C")
    if encoding != "gb18030":
        return "".join(kept)
    known = "".join(kept).encode("gbk", errors="ignore").decode("gbk")
    return known.replace("?", "")


def check_text(where: str, cell: str, sent: str, encoding: str) -> None:
    """A cell says what was sent."""
    if squeezed(as_text(cell), encoding) != squeezed(sent, encoding):
        raise UserError(
            f"{where} was edited: it begins with {as_text(cell)[:MOST_SHOWN]!r}, and "
            f"{sent[:MOST_SHOWN]!r} was sent; answers belong to the text that was read, so take "
            f"the sheet as it was sent"
        )


def one_value(path: Path, rows: Sequence[tuple[int, Row]], column: str, known: Sequence) -> str:
    """The one value that a column has in all rows."""
    for line, row in rows:
        said = row.get(column, "").strip()
        if said not in known:
            raise UserError(
                f"{path} line {line}, column {column}: found {said!r}; expected "
                f"{' or '.join(known)}" + (", the sheet of this key" if column == "sheet" else "")
            )
        if said != rows[0][1][column].strip():
            raise UserError(
                f"{path} line {line}, column {column}: found {said!r} after "
                f"{rows[0][1][column]!r}; a file holds the answers of one rater"
            )
    return rows[0][1][column].strip()


def read_sheet(path: Path, key: Mapping[str, Any]) -> Filled:
    """A rater's answers, checked against the key; a UserError names the file and the cell."""
    names, rows, encoding = table(path)
    check_header(path, names, header(key), rows)
    rows = [(line, row) for line, row in rows if row.get("row", "").strip() != QUESTIONS]
    if not rows:
        raise UserError(f"{path} has no row with answers; give the sheet that a rater filled in")
    one_value(path, rows, "sheet", [key["sheet"]])
    rater = one_value(path, rows, "rater", key["raters"])
    sent = {row["row"]: row for row in key["seen"]["rows"]}
    most = {question["name"]: question["most"] for question in key["seen"]["questions"]}
    answers: dict[str, dict[str, int]] = {}
    for line, row in rows:
        name = row["row"].strip()
        if name not in sent or name in answers:
            why = "stands there twice" if name in sent else "was not sent"
            raise UserError(f"{path} line {line}: the row {name!r} {why}; take it out")
        where = f"{path} line {line}, row {name}, column "
        for column in ("prompt", "reply"):
            check_text(where + column, row.get(column, ""), sent[name][column], encoding)
        answers[name] = {
            question: answer(row.get(question, ""), most[question], where + question)
            for question in sent[name]["asked"]
        }
        for question in most.keys() - set(sent[name]["asked"]):
            check_text(where + question, row.get(question, ""), NOT_ASKED, encoding)
    for name in sent:
        if name not in answers:
            raise UserError(f"{path}: the row {name} is missing; a sheet counts when it is whole")
    return Filled(rater, answers, list(answers) != list(sent))


def read_sheets(paths: Sequence[Path], key: Mapping[str, Any]) -> list[Filled]:
    """The sheets of two raters or more, sorted by rater."""
    found: dict[str, tuple[Path, Filled]] = {}
    for path in paths:
        sheet = read_sheet(path, key)
        if sheet.rater in found:
            raise UserError(
                f"{path} and {found[sheet.rater][0]} are both of rater {sheet.rater}; give one "
                f"file a rater"
            )
        found[sheet.rater] = path, sheet
    if len(found) < 2:
        raise UserError(
            f"agreement needs the sheets of two raters or more, and {len(found)} was given; give "
            f"them as SHEETS='FILE FILE'"
        )
    return [found[rater][1] for rater in sorted(found)]
