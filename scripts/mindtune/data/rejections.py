"""Why a dialogue is rejected for what is said in it: one named test a reason.

A test first looks for words without which its pattern cannot match: most dialogues have none of
them, and looking for a word is a hundred times faster than trying the pattern at every character.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mindtune.data.language import NOT_HAN, language_of

Turn = tuple[str, str]
Turns = list[Turn]

ROLE_TAG = re.compile(
    r"(?:\A|(?<=[\n。！？!?…”]))[ "
    r"\u3000]*(?:医生|心理医生|患者|病人|来访者|求助者|心理咨询师|咨询师|支持者|用户|助手|客服|Human|Assistant|User|Client|"
    r"Counsell?or|Therapist|System|GPT)\d?\s*[:：]",
    re.IGNORECASE,
)
ROLE_TAG_WORDS = (
    "医生", "患者", "病人", "来访者", "求助者", "咨询师", "支持者", "用户", "助手", "客服", "human", "assistant", "user", "client",
    "counsel", "therapist", "system", "gpt",
)  # fmt: skip
_MACHINE = r"(?:人工智能|AI|ＡＩ|大?语言模型|聊天机器人|机器人|虚拟助手|智能助手)"
_MACHINE_WORDS = (
    "人工智能",
    "ai",
    "ａｉ",
    "语言模型",
    "机器人",
    "助手",
    "intelligence",
    "language model",
    "chatbot",
)
REFUSAL = re.compile(
    rf"作为(?:一个|一名|一款|一位)?{_MACHINE}[^。！？"
    rf"\n]{{0,40}}(?:无法|不能|没有能力|没有办法|不具备)"
    r"|(?:抱歉|对不起|不好意思)[，,。！ ]{0,2}(?:但)?(?:我|作为)[^。！？"
    r"\n]{0,12}(?:无法|不能)(?:提供|回答|协助|满足|参与|继续|讨论|处理|完成)"
    r"|\bas an? (?:AI|artificial intelligence|large language model|language "
    r"model)\b[^.\n]{0,60}\b(?:can(?:no|')t|cannot|unable|not able|do(?:n't| not))"
    r"|\bI(?:'m| am) sorry, but I (?:can(?:no|')t|cannot|am unable|am not able)",
    re.IGNORECASE,
)
REFUSAL_WORDS = (*_MACHINE_WORDS, "抱歉", "对不起", "不好意思", "sorry")
_MODELS = (
    r"(?:Chat-?GPT|GPT-?[345]\w*|文心一言|文心大模型|通义千问|Qwen|讯飞星火|ChatGLM|GLM-?\d\w*|Claude|Gemini|LLaMA|InternLM|"
    r"书生[·・•]?浦语|百川大模型|Baichuan|豆包|Kimi|DeepSeek|EmoLLM|SoulChat|MeChat|MindChat|CPsyCounX|PsyChat|BianQue|"
    r"Mistral|Copilot)"
)
_MAKERS = rf"(?:{_MODELS}|OpenAI|Anthropic|百度|阿里云|阿里巴巴|智谱|月之暗面|深度求索|科大讯飞|腾讯|字节跳动)"
OTHER_MODEL = re.compile(
    rf"(?:我|本人|本助手)(?:是|叫做?|名为|的名字(?:是|叫))[^。！？\n]{{0,12}}{_MODELS}"
    rf"|(?:作为|这里是|名为|(?:叫|称呼)我[为做]?){_MODELS}"
    rf"|由[^。！？\n]{{0,10}}{_MAKERS}[^。！？"
    rf"\n]{{0,12}}(?:开发|训练|研发|打造|创造|构建|推出|设计)"
    rf"|\b(?:I(?:'m| am)|my name is|this is)[^.!?\n]{{0,24}}{_MODELS}"
    rf"|\b(?:developed|trained|created|made|built) by[^.!?\n]{{0,24}}{_MAKERS}"
    # names that a self-introduction template was to be filled with
    r"|<(?:AUTHOR|NAME)>|\{\{(?:AUTHOR|NAME)\}\}",
    re.IGNORECASE,
)
OTHER_MODEL_WORDS = (
    "gpt", "文心", "通义", "qwen", "星火", "glm", "claude", "gemini", "llama", "internlm", "书生", "百川", "baichuan", "豆包", "kimi",
    "deepseek", "emollm", "soulchat", "mechat", "mindchat", "cpsycounx", "psychat", "bianque", "mistral", "copilot", "openai",
    "anthropic", "百度", "阿里", "智谱", "月之暗面", "深度求索", "讯飞", "腾讯", "字节跳动", "author>", "name>", "author}", "name}",
)  # fmt: skip
MACHINE_IDENTITY = re.compile(
    rf"(?:我|本人)(?:只是|仅仅是|其实是|是)(?:一个|一名|一款|一位|个)?[^。！？\n，"
    rf",]{{0,8}}{_MACHINE}"
    rf"|作为(?:一个|一名|一款|一位)?{_MACHINE}[，,的助]"
    r"|我[^。！？\n]{0,16}(?:回答|协助|帮助|为)用户|我[^。！？"
    r"\n]{0,24}(?:用户的(?:数据|隐私|问题|需求)|用户提出)|保护用户隐私|健康助手"
    r"|我的[^。！？\n]{0,12}(?:训练数据|训练过程|自然语言)"
    r"|\b(?:as an?|I(?:'m| am)(?: just| only)? an?) "
    r"(?:AI|artificial intelligence|large language model|language model|chatbot)\b",
    re.IGNORECASE,
)
MACHINE_IDENTITY_WORDS = (*_MACHINE_WORDS, "健康助手", "用户", "训练数据", "训练过程", "自然语言")
# A replacement character, its GBK reading, uninitialised memory, and what UTF-8 read as GBK makes
# of `，` and `。`: the text has lost bytes, so no decoder can give it back (ftfy does not try).
BROKEN_WORDS = ("\ufffd", "锟斤拷", "烫烫烫", "屯屯屯", "锛", "銆")

_CLAUSE = re.compile(r"[。！？!?，,；;、\n…]+")
_UNIT = re.compile(r"(.{1,20}?)\1{4,}", re.DOTALL)  # on clauses that are too long to be one
_MARKS = ("!" * 12, "！" * 12, "?" * 12, "？" * 12)
_RUN = re.compile(r"(\w)\1{11,}")
LONG_CLAUSE, CLAUSE_CHARS = 60, 6


@dataclass(frozen=True)
class Rules:
    """What the tests need to know beside the turns."""

    min_turns: int
    languages: frozenset[str]
    special: re.Pattern[str]


Test = Callable[[Rules, Turns, str], bool]


def _in_turns(pattern: re.Pattern[str], words: Sequence[str], *roles: str) -> Test:
    """True when the pattern is found in a turn of these roles."""
    worth_trying = re.compile("|".join(map(re.escape, words)))

    def test(rules: Rules, turns: Turns, lowered: str) -> bool:
        return worth_trying.search(lowered) is not None and any(
            role in roles and pattern.search(text) is not None for role, text in turns
        )

    return test


def _broken_text(rules: Rules, turns: Turns, lowered: str) -> bool:
    return any(word in lowered for word in BROKEN_WORDS)


def _special(rules: Rules, turns: Turns, lowered: str) -> bool:
    return any(rules.special.search(text) for _, text in turns)


def _too_few(rules: Rules, turns: Turns, lowered: str) -> bool:
    return sum(role != "system" for role, _ in turns) < rules.min_turns


def loops(text: str) -> bool:
    """True when a text goes round in circles, as a model does that cannot stop.

    The same clause of six or more characters four times, any clause five times in a row, a unit of
    at most 20 characters five times in a row inside a long clause, or one letter or mark twelve
    times.
    """
    clauses = [clause for clause in _CLAUSE.split(text) if clause]
    if len(set(clauses)) < len(clauses) - 2:
        counts = Counter(clause for clause in clauses if len(clause) >= CLAUSE_CHARS)
        if counts and max(counts.values()) >= 4:
            return True
        if any(len(set(clauses[start : start + 5])) == 1 for start in range(len(clauses) - 4)):
            return True
    return any(marks in text for marks in _MARKS) or any(
        (len(clause) - len(set(clause)) >= 11 and _RUN.search(clause) is not None)
        or (len(clause) > LONG_CLAUSE and _UNIT.search(clause[:2000]) is not None)
        for clause in clauses
        if len(clause) >= 12
    )


def _repetition(rules: Rules, turns: Turns, lowered: str) -> bool:
    """A counsellor's turn that loops, or that is said three times, or twice in a row."""
    spoken = [text for role, text in turns if role == "gpt"]
    long = [text for text in spoken if len(text) >= CLAUSE_CHARS]
    if len(set(long)) < len(long) and (
        max(Counter(long).values()) >= 3
        or any(
            first == second and len(first) >= CLAUSE_CHARS
            for first, second in zip(spoken, spoken[1:], strict=False)
        )
    ):
        return True
    return any(map(loops, spoken))


def _wrong_language(rules: Rules, turns: Turns, lowered: str) -> bool:
    """Client or counsellor speaks another language than those wanted, or the two do not speak the
    same one.
    """
    if not NOT_HAN.search(lowered):
        return "zh" not in rules.languages
    told = {
        language_of("\n".join(text for role, text in turns if role == wanted))
        for wanted in ("human", "gpt")
    }
    told.discard(None)
    return len(told) > 1 or not told <= rules.languages


CONTENT_REJECTIONS: tuple[tuple[str, Test], ...] = (
    ("role_tag_in_turn", _in_turns(ROLE_TAG, ROLE_TAG_WORDS, "human", "gpt")),
    ("refusal", _in_turns(REFUSAL, REFUSAL_WORDS, "gpt")),
    ("other_model_identity", _in_turns(OTHER_MODEL, OTHER_MODEL_WORDS, "gpt", "system")),
    ("machine_identity", _in_turns(MACHINE_IDENTITY, MACHINE_IDENTITY_WORDS, "gpt")),
    ("broken_text", _broken_text),
    ("repetition", _repetition),
    ("wrong_language", _wrong_language),
    ("special_token", _special),
    ("too_few_turns", _too_few),
)
