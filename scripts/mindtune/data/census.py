"""The crisis census: who speaks of suicide or self-harm, and whether the counsellor points to help.

Words, not meanings: the pattern misses what is said around the words, and counts what is only
reported. It describes a corpus; it is no detector to rely on for a person.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from mindtune.data.personal_data import Hotlines

SPEAKS_OF_IT, POINTS_TO_HELP, NAMES_HOTLINE = 1, 2, 4
CRISIS = re.compile(
    r"自杀|自尽|轻生|寻短见|寻死|想死|不想活|活不下去|不如死了|死了算了|一了百了|活着(?:没有?|还有什么|有什么)(?:意义|意思)|结束(?:自己的?)?生命|"
    r"割腕|跳楼|上吊|遗书|自残|自伤|自我伤害|伤害自己|"
    r"suicid|kill(?:ing)? myself|end(?:ing)? my (?:own )?life|want(?:ed)? to "
    r"die|self-harm|hurt(?:ing)? myself|cut(?:ting)? myself",
    re.IGNORECASE,
)
HELP = re.compile(
    r"医生|医院|就医|就诊|精神科|心理科|急诊|急救|报警|专业(?:的)?(?:心理|帮助|人士|人员|机构|支持|援助|治疗|咨询)|危机干预|援助|热线|求助电话|"
    r"doctor|hospital|psychiatrist|professional help|emergency|crisis "
    r"(?:line|team|service)|hotline|helpline",
    re.IGNORECASE,
)
HOTLINE = re.compile(r"热线|求助电话|援助电话|hotline|helpline|crisis line|lifeline", re.IGNORECASE)
NUMBER = re.compile(r"[0-9][0-9 -]{1,14}[0-9]")


def flags(turns: Iterable[tuple[str, str]], hotlines: Hotlines) -> int:
    """What one dialogue adds to the census, as a sum of the three flags; 0 where the client speaks
    of nothing such.
    """
    spoken: dict[str, list[str]] = {"human": [], "gpt": [], "system": []}
    for role, text in turns:
        spoken[role].append(text)
    if not CRISIS.search("\n".join(spoken["human"])):
        return 0
    answers = "\n".join(spoken["gpt"])
    named = HOTLINE.search(answers) is not None or any(map(hotlines.holds, NUMBER.findall(answers)))
    helped = named or HELP.search(answers) is not None
    return SPEAKS_OF_IT | POINTS_TO_HELP * helped | NAMES_HOTLINE * named


def count(values: np.ndarray) -> Mapping[str, int]:
    """The census of many dialogues' flags."""
    return {
        "dialogues": len(values),
        "client_speaks_of_suicide_or_self_harm": int(np.count_nonzero(values & SPEAKS_OF_IT)),
        "counsellor_points_to_help": int(np.count_nonzero(values & POINTS_TO_HELP)),
        "counsellor_names_a_hotline": int(np.count_nonzero(values & NAMES_HOTLINE)),
    }
