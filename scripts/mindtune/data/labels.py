"""Speakers' labels: as names of turns, and as remnants inside a turn (`医生：`).

One label has one fate, wherever it stands: the turn's own speaker's label goes and its text stays;
the other speaker's label means that a turn's border was lost, and the dialogue is rejected.
Labels of a dialogue that is quoted or asked for are what is said, and stay.
"""

import re
from collections.abc import Iterator

from mindtune.data.markup import without_code
from mindtune.data.quoted import presents_a_dialogue

Turns = list[tuple[str, str]]


class ContextOnly(str):
    """The label or role of a turn that stays as context and is not learned. It equals the plain
    name, so that no repair or test treats such a turn in another way.
    """


def is_learned(turn: tuple[str, str]) -> bool:
    """False for a turn that is context only."""
    return not isinstance(turn[0], ContextOnly)


def learned(turns: Turns) -> Turns:
    """The turns that are not context only."""
    return [turn for turn in turns if is_learned(turn)]


ROLE_NAMES = {
    "system": ("system",),
    "human": (
        "human", "user", "client", "seeker", "help-seeker", "patient", "usr", "来访者", "求助者",
        "用户", "患者", "病人", "倾诉者", "咨客",
    ),
    "gpt": (
        "gpt", "assistant", "counselor", "counsellor", "therapist", "supporter", "listener",
        "helper", "doctor", "bot", "sys", "心理咨询师",
        "咨询师", "支持者", "医生", "心理医生", "倾听者", "助人者", "治疗师", "心理治疗师", "助手",
    ),
}  # fmt: skip
KNOWN_LABELS = {label: role for role, labels in ROLE_NAMES.items() for label in labels}

_CLIENT = r"来访者|求助者|倾诉者|咨客|用户|患者|病人|Help-?seeker|Client|Seeker|Patient|User|Human"
_COUNSELLOR = (
    r"心理咨询师|心理治疗师|心理医生|咨询师|治疗师|支持者|倾听者|助人者|医生|助手|客服|Counsell?or|Therapist|Supporter|"
    r"Assistant|GPT|System"
)
# Where a turn may begin: at its start, after a line end, the end of a sentence or an emoji.
_HEAD = (
    r"(?:\A|(?<=[\n。．！？!?…～~”\ufe0f\u2600-\u27bf\U0001f000-\U0001faff])|(?<=[.] ))"
    r"[#>*•\- \t\u3000]*"
)
# Not a label: a field of a form (`医生：张三`, `User: admin`) and reported speech (`医生：“没事”`).
_TAIL = (
    r"\*{0,2}\d?(?:[（(][^（）()\n]{1,12}[)）])?\*{0,2}[ \u3000]{0,4}[:：]\*{0,2}"
    r"(?![ \u3000]{0,2}(?:[“「『‘\d\[{<]|[男女][，,]|https?))[ \t\u3000]*"
)
LABEL = re.compile(rf"{_HEAD}(?:(?P<human>{_CLIENT})|(?P<gpt>{_COUNSELLOR})){_TAIL}", re.IGNORECASE)
LABEL_WORDS = re.compile(f"{_CLIENT}|{_COUNSELLOR}", re.IGNORECASE)
_SENTENCE = re.compile(r"[^\n]{0,200}?(?:[。！？!?…，,]|[.](?:\s|\Z))|[^\n]{0,40}\w+ \w+ \w+ \w+")
_LETTER = re.compile(r"[ \u3000]*(?:您好|你好|我|请问|在吗|hello|hi\b|I\b|my\b)", re.IGNORECASE)
_SCRIPTED = re.compile(
    r"(?:写|编|创作|设计|生成|模拟|举|改写|续写)[^。！？"
    r"\n]{0,24}(?:对话|剧本|台词|小品|话术|场景|情景剧|访谈|例子)"
    r"|\b(?:write|script|draft|example|sample|create|give)\b[^.\n]{0,40}\b(?:dialog(?:ue)?|conversation|script|scene|skit)",
    re.IGNORECASE,
)
_ADDRESSED = r"来访者|求助者|求询者|倾诉者|咨客|题主|楼主|seeker|client"
_GREETING = (
    r"你好|您好|嗨|哈喽|早上好|晚上好|谢谢[你您]?|感谢[你您]?|不客气|再见|欢迎[你您]?|加油|好的|"
    r"hello|hi|hey|dear|thank you|thanks|welcome|goodbye"
)
_VOCATIVE = re.compile(
    rf"(?P<greeting>{_GREETING})[，, ]{{0,2}}(?:亲爱的|尊敬的|这位)?(?:{_ADDRESSED})(?:朋友)?(?=[，"
    rf",。.！!～~？?\n]|\Z)"
    rf"|(?:\A|(?<=[\n。！？!?]))[ \u3000]*(?:亲爱的|尊敬的|这位|dear )?(?:{_ADDRESSED})(?:朋友)?"
    r"(?:[，,！!][ \u3000]*(?=[你您我别请不先如首从感谢听看])|[ \u3000]*(?=[你您]好))",
    re.IGNORECASE,
)
_VOCATIVE_WORDS = re.compile(_ADDRESSED, re.IGNORECASE)
# The same but for the ends of its English words; with a letter at each start it is faster.
_MAYBE_VOCATIVE = re.compile(
    f"{_ADDRESSED.split('|seeker')[0]}|s[eE][eE]|S[eE][eE]|\u017f[eE][eE]|c[lL]|C[lL]"
)


def has_colon(text: str) -> bool:
    """True when a label may stand in a text: every label ends with a colon."""
    return "：" in text or ":" in text


def found_labels(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """(role, match) of every label in a turn's text; code is not looked at."""
    if not has_colon(text) or not LABEL_WORDS.search(text):
        return
    for match in LABEL.finditer(text):
        if _SENTENCE.match(text, match.end()) or not text[match.end() :].strip():
            yield match.lastgroup or "", match


def scripted(turns: Turns) -> bool:
    """True when a dialogue or script is asked for: its labels are what was asked for."""
    return any(role == "human" and _SCRIPTED.search(text) for role, text in turns)


def _quotes(text: str) -> bool:
    """True when a turn's text presents a dialogue as a text: its labels are the text's own."""
    told = without_code(text)
    labels = list(found_labels(told))
    if not labels:
        return False
    head, tail = told[: labels[0][1].start()], told[labels[-1][1].end() :]
    return presents_a_dialogue(head, tail, len({role for role, _ in labels}) > 1)


def _quoting(turns: Turns) -> list[bool]:
    """For each turn, whether it quotes a dialogue or answers a client's turn that does."""
    quoting: list[bool] = []
    for index, (role, text) in enumerate(turns):
        answers = role == "gpt" and index > 0 and turns[index - 1][0] == "human"
        quoting.append(_quotes(text) or (answers and quoting[-1]))
    return quoting


def _own_words(turns: Turns) -> Turns:
    """The turns whose labels, if any, are remnants: none where a dialogue was asked for."""
    if scripted(turns):
        return []
    return [turn for turn, quotes in zip(turns, _quoting(turns), strict=True) if not quotes]


def _foreign(role: str, text: str) -> bool:
    other = {"human": "gpt", "gpt": "human"}.get(role)
    for found, match in found_labels(without_code(text)):
        letter = role == "human" and match.start() == 0 and _LETTER.match(text, match.end())
        if found == other and not letter:
            return True
    return False


def has_foreign_label(turns: Turns) -> bool:
    """True when the other speaker's label stands inside a turn."""
    return any(_foreign(role, text) for role, text in turns) and any(
        _foreign(role, text) for role, text in _own_words(turns)
    )


def has_own_label(turns: Turns) -> bool:
    """True when a turn's own speaker's label is left in it."""
    return _own_label(turns) and _own_label(_own_words(turns))


def _own_label(turns: Turns) -> bool:
    return any(
        found == role for role, text in turns for found, _ in found_labels(without_code(text))
    )


def drop_own_role_tag(turns: Turns) -> Turns:
    """A label of the turn's own speaker goes, its text stays.

    A turn that holds the other speaker's label too is left for the rejection.
    """
    if not any(has_colon(text) for _, text in turns):
        return turns
    told = [(role, _without_own(role, text)) for role, text in turns]
    if told == turns or scripted(turns):
        return turns
    quoting = _quoting(turns)
    return [old if quotes else new for old, new, quotes in zip(turns, told, quoting, strict=True)]


def _without_own(role: str, text: str) -> str:
    if "`" in text or _foreign(role, text):
        return text
    pieces, last = [], 0
    for found, match in found_labels(text):
        if found == role:
            pieces.append(text[last : match.start()])
            last = match.end()
    return "".join((*pieces, text[last:]))


def drop_addressed_label(turns: Turns) -> Turns:
    """A counsellor who greets `你好，来访者` greets nobody: the label goes, the greeting stays."""
    return [
        (role, _VOCATIVE.sub(lambda match: match["greeting"] or "", text))
        if role == "gpt" and _MAYBE_VOCATIVE.search(text) and _VOCATIVE_WORDS.search(text)
        else (role, text)
        for role, text in turns
    ]
