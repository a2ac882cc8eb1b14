"""What cleaning can mend: repairs of one turn's text, and repairs of the row of turns.

A repair changes only what it is sure of; what it leaves may still be a reason to reject.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from mindtune.data.labels import Turns, drop_addressed_label, drop_own_role_tag, is_learned
from mindtune.data.markup import fix_html, keeps_markup, outside_code

# ------------------------------------------------------------------------------------------------------ repairs of text  # noqa: E501

# Zero-width and direction marks, controls but tab and line ends, private use, non-characters, lone
# surrogates, tag characters but those of a flag. The joiner U+200D stays inside emoji, which it
# holds together.
INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    r"\ud800-\udfff\ue000-\uf8ff\ufeff\ufff9-\ufffb\ufffe\uffff]"
    r"|(?<![\U0001f3f4\U000e0000-\U000e007f])[\U000e0000-\U000e007f]+"
    r"|(?<![\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d|\u200d(?![\u2190-\u2bff\U0001f000-\U0001faff])"
)
# The same without looking around, which is ten times faster to search for.
MAYBE_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    r"\ud800-\udfff\ue000-\uf8ff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
# UTF-8 read as a one-byte encoding always shows one of these lead bytes, which Chinese text does
# not have.
MAYBE_MOJIBAKE = re.compile("[\u00c2-\u00f4]")
_WIDE = "，。、；：？！）》」』"  # after these a space is a remnant of other typesetting
MAYBE_UNTIDY = re.compile("[ \r\x85\u2028\u2029\xa0\t\u3000\n]")  # without it, UNTIDY finds nothing
UNTIDY = re.compile(rf"[\r\u0085\u2028\u2029\u00a0\t]|[ \u3000]\n|\n\n\n|  |[{_WIDE}] | [{_WIDE}]")
_TABLE_LINE = re.compile(r"(?m)^[ \t]*\|.*\|[ \t]*$")


def fix_mojibake(text: str) -> str:
    """Undo UTF-8 read as a one-byte encoding. ftfy is held to decoding: width, quotes and
    punctuation stay.
    """
    import ftfy

    config = ftfy.TextFixerConfig(
        replace_lossy_sequences=False, fix_c1_controls=False, explain=False
    )
    return ftfy.fix_encoding(text, config) if MAYBE_MOJIBAKE.search(text) else text


def fix_invisible(text: str) -> str:
    """Characters that nobody sees and the tokenizer does."""
    return INVISIBLE.sub("", text)


def fix_unicode(text: str) -> str:
    """Unicode NFC: one code for one character. Full-width forms and punctuation stay (that would
    be NFKC).
    """
    return unicodedata.normalize("NFC", text)


NARRATION = re.compile(
    r"(?m)^[ \t\u3000]*(?:（[^（）\n]{1,200}）|\([^()\n]{2,200}\)|【[^【】\n]{1,200}】)[ "
    r"\t\u3000]*(?:\r?$|\Z)"
)
_TIME = r"(?:一段时间|片刻|许久|良久|若干次|[\d一二三四五六七八九十半几两多]+(?:分钟|小时|天|周|个?月|年|次))"  # noqa: E501
_TELLS = re.compile(
    rf"{_TIME}[^，。]{{0,12}}(?:后|过去)|{_TIME}的|(?:^|[，。])(?:随|此|稍|然|之)后|后续|接下来|"
    r"咨询|对话|会谈|来访者|求助者|治疗|催眠|沙盘|沙具|角色扮演|放松|疗法|练习|脱敏|辅导|EMDR|情绪交换|测试|模拟|扮演|"
    r"沉默|停顿|叹气|叹了|哭|落泪|流泪|流下|哽咽|抽泣|微笑|笑了|大笑|苦笑|轻笑|点头|摇头|低头|低下头|抬起?头|拥抱|握住|递|起身|坐下|"
    r"站起|鼓掌|深呼吸|闭上眼|睁开眼|离开|走进|进入|进门|画完|画了|画中|摆放|到场|思考|犹豫|转身|擦|看向|望向|语气|声音|"
    r"省略|略去|以下为引导|以下略|场景|画面转|过程|中场|休息|铃声|录音|"
    r"(?:[,(]|\b)(?:paus|silen|sigh|laugh|chuckl|cries|crying|sob|tear|nod|smil|crosstalk|inaudible|unintelligible|"
    r"moments? later|minutes? later|after a (?:while|pause)|session|looks?\b|shrug|whisper|long "
    r"pause)",
    re.IGNORECASE,
)
_SAYS = re.compile(
    r"[你您？?]|我(?!们)|如果|可以|例如|比如|建议|不是|记得|\b(?:you|your|I|we|if|for "
    r"example|e\.g)\b",
    re.IGNORECASE,
)
_OF_THE_TALK = re.compile(r"对话|咨询师|来访者|医生会|病人|省略|略去")


def _is_narration(line: str) -> bool:
    inside = line.strip(" \t\u3000\r()（）【】")
    if not _TELLS.search(inside) or (_SAYS.search(inside) and not _OF_THE_TALK.search(inside)):
        return False
    heading = line.lstrip()[:1] == "【"
    return not heading or inside.endswith(("中", "后", "结束", "开始", "省略", "沉默", "停顿"))


def fix_narration(text: str) -> str:
    """A bracketed line that tells of the talk, `（一段时间后）`, and is not said in it, goes.

    Brackets in a sentence stay, so does an aside to the client, and a turn that is nothing else.
    """
    told = NARRATION.sub(lambda match: "" if _is_narration(match[0]) else match[0], text)
    return told if told.strip() else text


def fix_whitespace(text: str) -> str:
    """Line ends to \\n.

    No space at line ends, around the turn and beside full-width signs, no runs of blank lines or
    spaces. Code, indents and the lines of a table stay as they are.
    """
    if not MAYBE_UNTIDY.search(text) or not UNTIDY.search(text):
        return text.strip()
    text = re.sub(r"\r\n?|[\u0085\u2028\u2029]", "\n", text)
    if "|" not in text:
        return outside_code(_tidy, text).strip()
    pieces, last = [], 0
    for match in _TABLE_LINE.finditer(text):
        pieces += [outside_code(_tidy, text[last : match.start()]), match[0]]
        last = match.end()
    return "".join((*pieces, outside_code(_tidy, text[last:]))).strip()


def _tidy(text: str) -> str:
    text = re.sub(r"\u00a0|(?<=\S)\t", " ", text)
    text = re.sub(r"(?<=\S) {2,}", " ", text)
    text = re.sub(rf"(?<=[{_WIDE}]) +(?=\S)|(?<=\S) +(?=[{_WIDE}])", "", text)
    text = re.sub(r"(?<![ \t\u3000])[ \t\u3000]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text)


# ---------------------------------------------------------------------------------------------------- repairs of turns  # noqa: E501

_CLIENT_VOICE = re.compile(
    r"我(?!们|在听|在这|在呢|一直在|也在|都在|想请|想让|想问|建议|理解|能理解|听到|看到|明白|陪|会陪|将|注意到|很高兴|相信|发现|的建议|知道了)|\b(?:I|me|my)\b"
)
_COUNSELLOR_VOICE = re.compile(r"[你您]|\byour?\b", re.IGNORECASE)
_ASKS_FOR_HELP = re.compile(
    r"我该?(?:怎么|如何)|(?:我|该)怎么办|帮帮我|求助|what should I do|help me\b", re.IGNORECASE
)
_ADVISES = re.compile(
    r"(?:[你您](?:可以|不妨|能不能|愿意|觉得|有没有|是否|现在|的感受)|建议[你您]|请[你您]|听起来[，"
    r",]?[你您]|我(?:能|可以)?理解[你您])"
    r"|\b(?:how do you feel|can you tell me|I (?:understand|hear) (?:you|that)|it sounds like|have "
    r"you)\b",
    re.IGNORECASE,
)


def drop_empty_turns(turns: Turns) -> Turns:
    """Turns without a visible character go."""
    return [turn for turn in turns if turn[1].strip()]


def sounds_like(text: str) -> str | None:
    """Who a turn sounds like: "human" tells of itself, "gpt" speaks to a `you`; None says
    nothing.
    """
    own, other = len(_CLIENT_VOICE.findall(text)), len(_COUNSELLOR_VOICE.findall(text))
    if _ADVISES.search(text) and other >= own:
        return "gpt"
    if (own >= 2 and own > other) or (own and not other) or _ASKS_FOR_HELP.search(text):
        return "human"
    return None


def _one_speaker(role: str, texts: list[str]) -> bool:
    """False when a turn of the run sounds like the other speaker: a label was lost there."""
    other = "gpt" if role == "human" else "human"
    return role == "system" or all(sounds_like(text) != other for text in texts)


def merge_same_role(turns: Turns) -> Turns:
    """Turns of one speaker in a row become one turn, joined by a line end.

    Where one of them sounds like the other speaker they stay apart, and the order is wrong.
    """
    merged: Turns = []
    start = 0
    for end in range(1, len(turns) + 1):
        if end < len(turns) and turns[end][0] == turns[start][0]:
            continue
        run = turns[start:end]
        texts = [text for _, text in run]
        if len(run) > 1 and _one_speaker(run[0][0], texts):
            # what is joined is learned only if all of it is
            role = next((turn[0] for turn in run if not is_learned(turn)), run[0][0])
            run = [(role, "\n".join(texts))]
        merged += run
        start = end
    return merged


def drop_leading_counsellor(turns: Turns) -> Turns:
    """A greeting before the client's first turn answers nothing; the system prompt stays."""
    start = 1 if turns and turns[0][0] == "system" else 0
    end = start
    while end < len(turns) and turns[end][0] == "gpt":
        end += 1
    return turns[:start] + turns[end:]


def drop_trailing_client(turns: Turns) -> Turns:
    """A last client turn has no answer to learn."""
    end = len(turns)
    while end and turns[end - 1][0] == "human":
        end -= 1
    return turns[:end]


# ---------------------------------------------------------------------------------------------------------------- order  # noqa: E501


@dataclass(frozen=True)
class TextRepair:
    """A repair of each turn's text.

    `needs` (None: no shortcut) must be found somewhere for the step to be tried; `spares` says for
    which whole dialogue it is not.
    """

    name: str
    fix: Callable[[str], str]
    needs: re.Pattern[str] | None
    spares: Callable[[str], bool] = lambda whole: False


TEXT_REPAIRS = (
    TextRepair("mojibake", fix_mojibake, MAYBE_MOJIBAKE),
    TextRepair("html", fix_html, re.compile("&[#A-Za-z]|<[!/A-Za-z]"), keeps_markup),
    TextRepair("invisible", fix_invisible, MAYBE_INVISIBLE),
    TextRepair("unicode_nfc", fix_unicode, None),
    TextRepair("narration", fix_narration, NARRATION),
    TextRepair("whitespace", fix_whitespace, None),
)
TURN_REPAIRS: tuple[tuple[str, Callable[[Turns], Turns]], ...] = (
    ("empty_turn", drop_empty_turns),
    ("own_role_tag", drop_own_role_tag),
    ("addressed_label", drop_addressed_label),
    ("same_role_turns", merge_same_role),
    ("leading_counsellor_turn", drop_leading_counsellor),
    ("trailing_client_turn", drop_trailing_client),
)
