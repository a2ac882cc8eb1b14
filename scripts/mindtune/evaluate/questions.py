"""Multiple-choice questions from the forms in which they are published, with their known dirt.

A question whose key cannot be right is never asked in silence: it is refused with a sentence, or
excluded and listed, as the suite says.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.cli import UserError

LETTERS = "ABCDEFGH"
# Long enough that two questions share it only if they are asked about the same case
STEM_CHARACTERS = 60
# CPsyExam's file names say for which exam a question was made
BLOCKS = {
    "CA": "case",
    "KG-GEE": "graduate-entrance",
    "KG-PCE": "counsellor",
    "KG-SSE": "self-study",
    "KG-TQE": "teacher",
}


@dataclass
class Question:
    """One question. `options` are in the order of LETTERS, `key` is their right letters, sorted."""

    id: str
    lang: str
    text: str
    options: list[str]
    key: str
    multiple: bool = False
    strata: list[str] = field(default_factory=list)
    cluster: str = ""


def plain(text: Any) -> str:
    """A text without the HTML tags of scraped exams, its blanks joined."""
    text = re.sub(r"</?(?:p|br|span|div|b|i|u|strong|em|sub|sup|font)\b[^<>]*>", " ", str(text))
    return " ".join(text.replace("&nbsp;", " ").split())


def read_rows(path: Path, **kinds: type) -> Iterator[dict[str, Any]]:
    """Rows of a JSON list or of JSON lines, each with keys of these kinds; a UserError names the
    file and row of anything else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.splitlines() if line.strip()]
        )
    except ValueError as error:
        raise UserError(
            f"{path} is no JSON ({error}); give the suite's data as published"
        ) from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"{path} row {number} is no object; expected a question")
        for key, kind in kinds.items():
            if not isinstance(row.get(key), kind):
                raise UserError(
                    f"{path} row {number}: {key} is {row.get(key)!r}; expected {kind.__name__}; "
                    "give the suite's data in the form that its file names"
                )
        yield row


def lettered(options: dict[str, str]) -> list[str]:
    """Options {letter: text} as a list; empty ones at the end do not exist."""
    found = [plain(options[letter]) for letter in sorted(options)]
    while found and not found[-1]:
        found.pop()
    return found


def own_form(files: Sequence[Path]) -> Iterator[Question]:
    """The project's own form: {id, lang, type, question, options {letter: text}, answer, topic}."""
    for path in files:
        kinds = dict.fromkeys(("id", "lang", "type", "question", "answer", "topic"), str)
        for row in read_rows(path, **kinds, options=dict):
            yield Question(
                id=row["id"],
                lang=row["lang"],
                text=plain(row["question"]),
                options=lettered(row["options"]),
                key="".join(sorted(row["answer"])),
                multiple=row["type"] == "multi",
                strata=[row["topic"]],
                cluster=row.get("cluster", ""),
            )


def cpsyexam(files: Sequence[Path]) -> Iterator[Question]:
    """CPsyExam's JSON files, by block (the start of the file name) and subject."""
    for path in files:
        block = next((word for start, word in BLOCKS.items() if path.name.startswith(start)), "?")
        kinds = dict.fromkeys(("id", "question", "question_type", "answer", "subject_name"), str)
        for row in read_rows(path, **kinds, options=dict):
            yield Question(
                id=row["id"],
                lang="zh",
                text=plain(row["question"]),
                options=lettered(row["options"]),
                key="".join(sorted(row["answer"].strip())),
                multiple=row["question_type"] == "multi",
                strata=[block, row["subject_name"]],
            )


def mmlu(files: Sequence[Path]) -> Iterator[Question]:
    """MMLU's CSV files without a header: question, four options, letter."""
    for path in files:
        with open(path, encoding="utf-8", newline="") as stream:
            for number, row in enumerate(csv.reader(stream)):
                if len(row) < 4:
                    raise UserError(
                        f"{path} row {number + 1} has {len(row)} columns; expected 6: question, "
                        "four options and the letter, as MMLU is published"
                    )
                text, *options, key = map(plain, row)
                subject = path.stem.removesuffix("_test")
                yield Question(f"{path.stem}-{number}", "en", text, options, key, strata=[subject])


def safetybench(files: Sequence[Path]) -> Iterator[Question]:
    """SafetyBench: the questions, and a file *answers* {id: {"answer": index}}."""
    keys: dict[str, Any] = {}
    for path in files:
        if "answers" in path.name:
            keys |= json.loads(path.read_text(encoding="utf-8"))
    for path in (path for path in files if path.suffix == ".json" and "answers" not in path.name):
        for row in read_rows(path, id=int, question=str, category=str, options=list):
            found = keys.get(str(row["id"]))
            place = found.get("answer") if isinstance(found, dict) else None
            if not isinstance(place, int):
                raise UserError(
                    f"{path}: question {row['id']} has no key in a file *answers*.json; give both "
                    "files of SafetyBench"
                )
            letter = LETTERS[place] if 0 <= place < len(LETTERS) else str(place)
            yield Question(
                f"safetybench-{row['id']}",
                "zh",
                plain(row["question"]),
                [plain(option) for option in row["options"]],
                letter,
                strata=[row["category"].lower().replace(" ", "-")],
            )


FORMS: dict[str, Callable[[Sequence[Path]], Iterable[Question]]] = {
    "questions": own_form,
    "cpsyexam": cpsyexam,
    "mmlu": mmlu,
    "safetybench": safetybench,
}


def fault(question: Question) -> str:
    """Why a question's key cannot be right, or an empty text."""
    letters = LETTERS[: len(question.options)]
    if len(question.options) < 2:
        return f"it has {len(question.options)} options"
    if not question.key or set(question.key) - set(letters):
        return f"its key {question.key!r} is none of its options {letters}"
    if any(not option for option in question.options):
        return "one of its options is empty"
    if len(set(question.options)) < len(question.options):
        return "two of its options are equal"
    if question.multiple and len(question.key) < 2:
        return f"it asks for several answers and its key {question.key!r} has one"
    if not question.multiple and len(question.key) > 1:
        return f"it asks for one answer and its key {question.key!r} has {len(question.key)}"
    return ""


def checked(
    questions: Iterable[Question], dirt: str, name: str
) -> tuple[list[Question], list[dict[str, str]]]:
    """The questions that can be asked, and {"id", "reason"} of the others.

    With dirt "refuse" the first of the others is a UserError.
    """
    kept, excluded, seen, ids = [], [], {}, set()
    for question in questions:
        content = (question.text, tuple(sorted(question.options)))
        reason = fault(question)
        if not reason and content in seen:
            reason = f"it is the same question as {seen[content]}"
        elif not reason and question.id in ids:
            reason = "its id stands there twice"
        if reason and dirt == "refuse":
            raise UserError(
                f"{name}: question {question.id}: {reason}; correct it, or let the suite's file "
                f"say "
                "dirt: exclude, which leaves such questions out and lists them"
            )
        if reason:
            excluded.append({"id": question.id, "reason": reason})
            continue
        seen[content] = question.id
        ids.add(question.id)
        kept.append(question)
    return kept, excluded


def with_clusters(questions: Sequence[Question]) -> None:
    """Questions about the same case (equal for STEM_CHARACTERS) become one cluster, in place."""
    first: dict[str, str] = {}
    for question in questions:
        stem = question.text[:STEM_CHARACTERS]
        shared = question.id
        if len(question.text) > STEM_CHARACTERS:
            shared = first.setdefault(stem, question.id)
        question.cluster = question.cluster or shared
