"""Whether a counsellor's text goes round in circles, as a model does that cannot stop.

What repeats by its nature is not looked at: lines of dots and dashes, tables, code, a listener's
`Mm-hmm`, counted breaths.
"""

import re
from collections import Counter
from collections.abc import Sequence

from mindtune.data.markup import without_code

_CLAUSE = re.compile(r"[。！？!?，,；;、\n…]+|[.](?=\s|\Z)")
_TABLE = re.compile(r"(?m)^[ \t]*\|.*$|^[^|\n]*\|[^|\n]*\|.*$")
_NOT_SAID = re.compile(r"[\W_]+")
_BREATH = re.compile(
    r".{0,3}(?:吸气|呼气|吐气|吸|呼|屏住|放松).{0,3}|(?:\w+)?(?:breathe|inhale|exhale|hold)\w{0,16}",
    re.IGNORECASE,
)
_UNIT = re.compile(r"(.{1,20}?)\1{4,}", re.DOTALL)  # on clauses that are too long to be one
_TWICE = re.compile(r"(.)\1", re.DOTALL)  # in every sixth letter of a text with a run of twelve
_RUN = re.compile(r"([^\W\d_])\1{11,}")
_LAUGHTER = frozenset("哈呵嘿嘻啊呜嗯唉噢哦嘤呃咳zhoeamuw")
_MARKS = re.compile(r"[!！?？]{12,}")
_WORD = re.compile(r"[A-Za-z\u00c0-\u024f']+")
_HAN = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]")
LONG_CLAUSE, CLAUSE_WEIGHT, LOOK_AT = 60, 6, 2000
MOST_LAUGHTER = 40


def weight(text: str) -> float:
    """How much a text says: a Chinese character counts one, a word of an alphabet one and a
    half.
    """
    return len(_HAN.findall(text)) + 1.5 * len(_WORD.findall(text))


def _said(text: str) -> str:
    if "`" in text:
        text = without_code(text)
    return _TABLE.sub("", text) if "|" in text else text


def _runs(clause: str) -> bool:
    """One letter twelve times (laughter: forty), or a unit of a few letters five times."""
    for match in _RUN.finditer(clause):
        if match[1].lower() not in _LAUGHTER or len(match[0]) >= MOST_LAUGHTER:
            return True
    if len(clause) <= LONG_CLAUSE:
        return False
    return any(
        len(match[0]) >= LONG_CLAUSE // 2 and len(set(_NOT_SAID.sub("", match[1]))) > 1
        for match in _UNIT.finditer(clause[:LOOK_AT])
    )


def loops(text: str) -> bool:
    """True when a text loops.

    The same clause of some weight four times and in half of the text, a group of up to three
    clauses four or five times in a row, a unit of at most 20 characters five times in a row inside
    a long clause, or one letter or mark twelve times.
    """
    text = _said(text)
    written = _CLAUSE.split(text)
    clauses = [
        said
        for clause in written
        if (said := clause if clause.isalnum() else _NOT_SAID.sub("", clause))
    ]
    if len(set(clauses)) < len(clauses) - 2 and _clauses_loop(clauses):
        return True
    marks = sum(map(len, _MARKS.findall(text)))
    if marks and marks * 2 >= len(text.strip()):
        return True
    least = 12 if _TWICE.search(text[::6]) else LONG_CLAUSE + 1
    long = [clause for clause in written if len(clause) >= least]
    return any(len(clause) - len(set(clause)) >= 11 and _runs(clause) for clause in long)


def _clauses_loop(clauses: Sequence[str]) -> bool:
    said = [clause for clause in clauses if not clause.isdigit() and not _BREATH.fullmatch(clause)]
    counts = Counter(said)
    whole = sum(map(len, said))
    for clause, times in counts.most_common(3):
        if times >= 4 and len(clause) * times * 2 >= whole and weight(clause) >= CLAUSE_WEIGHT:
            return True
    return any(_period(said, length) for length in (1, 2, 3))


def _period(said: Sequence[str], length: int) -> bool:
    """True when a group of so many clauses is said five times in a row (one of weight: four)."""
    same = 0
    for at in range(length, len(said)):
        same = same + 1 if said[at] == said[at - length] else 0
        group = "".join(said[at - length + 1 : at + 1])
        times = 3 if length > 1 and weight(group) >= CLAUSE_WEIGHT else 4
        if same >= times * length and len(group) > 1:
            return True
    return False


def said_again(turns: Sequence[str]) -> bool:
    """True when one turn of some weight is said twice in a row, or three times and in a third of
    the turns.
    """
    if len(set(turns)) == len(turns):
        return False
    for first, second in zip(turns, turns[1:], strict=False):
        if first == second and weight(first) >= 1.5 * CLAUSE_WEIGHT:
            return True
    return any(
        times >= 3
        and weight(turn) >= CLAUSE_WEIGHT
        and (3 * times >= len(turns) or weight(turn) >= 4 * CLAUSE_WEIGHT)
        for turn, times in Counter(turns).most_common(5)
    )
