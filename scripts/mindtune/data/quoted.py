"""A dialogue that is quoted: the text of an exam question, of a task, or of an example.

Its labels are part of what is said. A turn that lost its border has labels, too; it has nobody who
presents them. So words are looked for that do: before the first label or after the last one.
"""

import re

_TALK = r"对话|谈话|会谈|访谈|晤谈|问诊|问答|聊天|片[段断]|咨询(?:过程|记录|实录)|通话记录|逐字稿"
_TALK_EN = (
    r"\b(?:dialogues?|dialogs?|conversations?|transcripts?|exchanges?|excerpts?|vignettes?|"
    r"interviews?|chats?|sessions?)\b"
)
_TASK = (
    r"判断|分析|总结|概括|归纳|评价|评估|点评|评分|打分|标注|分类|改写|续写|翻译|复述|阅读|提取|找出|指出|识别|"
    r"读一读|看一看|补全|润色"
)
_TASK_EN = (
    r"\b(?:read|consider|summari[sz]e|analy[sz]e|evaluate|assess|rate|score|classify|label|judge|"
    r"identify|review|continue|complete|rewrite|translate|annotate|extract|critique)\b"
)
_ORDER = rf"(?:\A|[请，,：:]|帮我|需要你)[\s请]{{0,3}}(?:{_TASK})(?:一下|出)?"
_TASKS = (
    rf"{_ORDER}[^，、。！？!?\n]{{0,6}}[这下以上该此前][^，、。！？!?\n]{{0,12}}(?:{_TALK})"
    rf"|{_ORDER}(?:{_TALK})|{_TASK_EN}(?: the| this| a)?(?: [a-z]+){{0,2}} {_TALK_EN}"
)
# What presents a dialogue that follows.
_OPENS = re.compile(
    rf"(?:下面|以下|如下|下列|下文|一段(?!时间)|节选|摘自)[^。！？!?\n]{{0,30}}(?:{_TALK})|{_TASKS}"
    rf"|\b(?:following|below)\b[^.!?\n]{{0,40}}{_TALK_EN}"
    rf"|\b(?:here is|here's|this is)\b[^.!?\n]{{0,30}}{_TALK_EN}",
    re.IGNORECASE,
)
# The heading of an exam's case.
_CASE = re.compile(
    r"[\s【\[（(]*(?:案例(?:[（(]?[一二三四五六七八九十\d]+|分析|介绍|背景)|一般资料)"
)
# An example in a sentence: the first label follows at once.
_EXAMPLE = re.compile(
    r"(?:例如|比如|譬如|比方说|举个?例子?|示例|范例|示范|for example|for instance|e\.g\.)"
    r"[^。！？!?\n]{0,16}[：:]\s*\Z",
    re.IGNORECASE,
)
# What asks about a dialogue that went before.
_CLOSES = re.compile(
    rf"(?:以上|上述|上面|上文|上一段|本段|该段|这段|此段|前面)[^，。！？!?\n]{{0,16}}(?:{_TALK}|材料|案例)"
    rf"(?:中|里|内|所|主要|体现|反映|说明|属于|使用|运用|是)|{_TASKS}"
    rf"|\b(?:above|preceding|previous)\b[^.!?\n]{{0,20}}{_TALK_EN}"
    rf"|{_TALK_EN} (?:above|shows?|illustrates?)",
    re.IGNORECASE,
)
# A question of an exam: a gap to fill, or answers to choose from.
_GAP = re.compile(r"(?<=[\u3400-\u9fff：:。])[（(][ \u3000]*[)）]|_{3,}")
_CHOICE = re.compile(r"(?m)(?:^|(?<=[ \u3000]))[（(]?([A-D])[.、．:：)）]")
_SENTENCE = re.compile(r"(?:[^。！？!?.\n]|[.](?=\S))+")
LEAST_CHOICES = 2
NEAREST = 2  # sentences beside the dialogue in which it is presented


def presents_a_dialogue(head: str, tail: str, both: bool) -> bool:
    """True when labels stand in a text that somebody presents.

    `head` is the text before the first label, `tail` that after the last one, and `both` says
    that both speakers are labelled: one label alone makes no dialogue, unless the text asks an
    exam's question about it.
    """
    if _GAP.search(tail) or len(set(_CHOICE.findall(tail))) >= LEAST_CHOICES:
        return True
    if not both:
        return False
    before, after = _SENTENCE.findall(head), _SENTENCE.findall(tail)[1:]
    return (
        any(map(_OPENS.search, before[:1] + before[-NEAREST:]))
        or _CASE.match(head) is not None
        or _EXAMPLE.search(head) is not None
        or any(map(_CLOSES.search, after[-NEAREST:]))
    )
