"""Files in which every row is one turn: the turns of one dialogue become one row.

Such are tables with a column for the dialogue, the speaker and the text. Turns of a dialogue stand
together in the file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from mindtune.cli import UserError
from mindtune.data.fields import is_turn_of
from mindtune.data.form_keys import DIALOGUE_IDS, is_turn, key_of, pair_of
from mindtune.data.raw_row import RawRow, Unreadable, parse, where

MOST_TURNS = 10_000  # of a file that names no dialogues, and so is one


def is_turn_row(row: Any, fields: Mapping[str, str]) -> bool:
    """True for a row that is one turn of a dialogue."""
    return is_turn_of(row, fields) if fields else is_turn(row) and not pair_of(row)


def dialogue_of(row: dict[str, Any], fields: Mapping[str, str]) -> Any:
    """Which dialogue a turn belongs to; None where the file does not say."""
    key = fields.get("dialogue") or key_of(row, DIALOGUE_IDS)
    return row.get(key) if key else None


def _utterance(row: dict[str, Any]) -> Any:
    """What tells a turn from the next: several people's labels of one turn are one turn."""
    key = key_of(row, ("utterance_id", "turn_id"))
    return row[key] if key else None


def by_dialogue(rows: Iterator[RawRow], name: str, fields: Mapping[str, str]) -> Iterator[RawRow]:
    """The rows as they are, or one a dialogue if the first row is a turn."""
    first = next(rows, None)
    if first is None:
        return
    try:
        turns = is_turn_row(parse(first, name), fields)
    except Unreadable:
        turns = False
    if turns:
        yield from _grouped(first, rows, name, fields)
        return
    yield first
    yield from rows


def _grouped(
    first: RawRow, rows: Iterator[RawRow], name: str, fields: Mapping[str, str]
) -> Iterator[RawRow]:
    """One row a dialogue, its turns as they were."""
    gathered: list[RawRow] = []
    identity, utterance, done, number = None, None, set(), 0
    for row in (one for part in ([first], rows) for one in part):
        content = parse(row, name)
        if not isinstance(content, dict):
            raise UserError(
                f"{where(name, row.number, row.byte)}: found a {type(content).__name__}, expected "
                f"a turn as in the rows before; correct the row"
            )
        belongs = dialogue_of(content, fields)
        if gathered and belongs != identity:
            number += 1
            yield _dialogue(gathered, identity, number)
            done.add(str(identity))
            gathered = []
            if str(belongs) in done:
                raise UserError(
                    f"{where(name, row.number, row.byte)}: dialogue {belongs} goes on after "
                    f"another one; sort the rows by dialogue"
                )
        if not gathered or utterance is None or _utterance(content) != utterance:
            gathered.append(row)
        identity, utterance = belongs, _utterance(content)
        if len(gathered) > MOST_TURNS:
            raise UserError(
                f"{name}: {MOST_TURNS:,} turns and no end of the dialogue; name the column that "
                f"says which dialogue a turn is of, datasets.NAME.fields.dialogue"
            )
    yield _dialogue(gathered, identity, number + 1)


def _dialogue(turns: list[RawRow], identity: Any, number: int) -> RawRow:
    head = b"" if identity is None else b'"id":%s,' % orjson.dumps(identity)
    data = b",".join(turn.data for turn in turns)
    return RawRow(number, turns[0].byte, b'{%s"turns":[%s]}' % (head, data))
