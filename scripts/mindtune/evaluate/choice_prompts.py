"""Multiple-choice questions as prompts: as printed, and with the options in another order, which
shows how much a model prefers a place to an answer.
"""

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.questions import LETTERS, Question

OTHER_ORDER = "~1"  # ends the id of a question that is asked in another order
# An option that speaks of the others means something else in another place
OF_THE_OTHERS = re.compile(
    r"以上|上述|前述|\babove\b|(?<![A-Za-z])[A-H]\s*(?:和|与|、"
    r"|,|and|or)\s*[A-H](?![A-Za-z])|\b[Bb]oth\b"
)


def other_order(question: Question) -> list[int]:
    """Places of the options in another order, drawn by the question's id: no option stays."""
    seed = int.from_bytes(hashlib.sha256(question.id.encode()).digest()[:8], "big")
    draw = random.Random(seed)
    places = list(range(len(question.options)))
    while True:
        order = draw.sample(places, len(places))
        if all(order[place] != place for place in places):
            return order


def question_text(
    question: Question, options: Sequence[str], instruction: Mapping[str, str]
) -> str:
    """What the user's turn says: the instruction, the question, one option a line."""
    kind = question.lang + ("_multiple" if question.multiple else "")
    if kind not in instruction:
        raise UserError(
            f"question {question.id} needs the suite's instruction {kind}, which is not there; "
            f"add instruction.{kind} to the suite's file"
        )
    lines = [f"{LETTERS[place]}. {option}" for place, option in enumerate(options)]
    return "\n".join([instruction[kind], "", question.text, *lines])


def question_prompts(
    questions: Sequence[Question], instruction: Mapping[str, str], shuffles: int
) -> list[dict[str, Any]]:
    """The rows of the prompts file, without system turns: every question in each of its orders."""
    rows = []
    for question in questions:
        orders = [list(range(len(question.options)))]
        if not any(map(OF_THE_OTHERS.search, question.options)):
            orders += [other_order(question)] * shuffles
        for number, order in enumerate(orders):
            options = [question.options[place] for place in order]
            key = sorted(LETTERS[order.index(LETTERS.index(letter))] for letter in question.key)
            rows.append(
                {
                    "id": question.id + (OTHER_ORDER if number else ""),
                    "cluster": question.cluster,
                    "lang": question.lang,
                    "strata": question.strata,
                    "prompt": [
                        {"role": "user", "content": question_text(question, options, instruction)}
                    ],
                    "question": question.id,
                    "options": options,
                    "answer": "".join(key),
                    "multiple": question.multiple,
                }
            )
    return rows
