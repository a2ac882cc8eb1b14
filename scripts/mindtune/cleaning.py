"""The cleaning steps: what each one repairs or rejects, in the order in which they run.

A repair changes turns and leaves its name in the row's `fixes`; a rejection leaves its name in `reasons`. Every
step of REPAIRS and REJECTIONS can be switched off by name; REQUIRED reasons cannot, because rows that fail them
have no dialogue in them. Cleaning a clean dialogue changes nothing.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mindtune.cli import UserError
from mindtune.personal_data import MAY_HOLD, Hotlines, Mask, maskers

Turn = tuple[str, str]
Turns = list[Turn]

# ------------------------------------------------------------------------------------------------------ repairs of text

_TAGS = (
    "a|abbr|article|b|big|blockquote|body|br|center|code|dd|del|div|dl|dt|em|figure|font|footer|h[1-6]|head|header|hr|html|i|"
    "img|input|ins|label|li|link|main|meta|nav|ol|option|p|pre|s|section|small|span|strong|sub|sup|table|tbody|td|tfoot|th|"
    "thead|title|tr|tt|u|ul|video"
)
HTML_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
HTML_DROPPED = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
HTML_BREAK = re.compile(
    r"<(?:br|hr)\s*/?>|</(?:p|div|li|tr|h[1-6]|blockquote|section|article|pre|table)\s*>", re.IGNORECASE
)
HTML_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)

# Zero-width and direction marks, controls but tab and line ends, private use, non-characters, lone surrogates, tag
# characters. The joiner U+200D stays inside emoji, which it holds together.
INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    r"\ud800-\udfff\ue000-\uf8ff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
    r"|(?<![\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d|\u200d(?![\u2190-\u2bff\U0001f000-\U0001faff])"
)
# UTF-8 read as a one-byte encoding always shows one of these lead bytes, which Chinese text does not have.
MAYBE_MOJIBAKE = re.compile("[\u00c2-\u00f4]")
_WIDE = "，。、；：？！）》」』"  # after these a space is a remnant of other typesetting
UNTIDY = re.compile(rf"[\r\u0085\u2028\u2029\u00a0\t]|[ \u3000]\n|\n\n\n|  |[{_WIDE}] | [{_WIDE}]")


def fix_mojibake(text: str) -> str:
    """Undo UTF-8 read as a one-byte encoding. ftfy is held to decoding: width, quotes and punctuation stay."""
    import ftfy

    config = ftfy.TextFixerConfig(replace_lossy_sequences=False, fix_c1_controls=False, explain=False)
    return ftfy.fix_encoding(text, config) if MAYBE_MOJIBAKE.search(text) else text


def fix_html(text: str) -> str:
    """Entities to characters, line-breaking tags to line ends, known other tags away. `a < b` stays."""
    while (plain := HTML_ENTITY.sub(lambda match: html.unescape(match[0]), text)) != text:
        text = plain  # `&amp;nbsp;` takes two rounds
    if "<" in text:
        text = HTML_TAG.sub("", HTML_BREAK.sub("\n", HTML_DROPPED.sub("", text)))
    return text


def fix_invisible(text: str) -> str:
    """Characters that nobody sees and the tokenizer does."""
    return INVISIBLE.sub("", text)


def fix_unicode(text: str) -> str:
    """Unicode NFC: one code for one character. Full-width forms and punctuation stay (that would be NFKC)."""
    return unicodedata.normalize("NFC", text)


def fix_whitespace(text: str) -> str:
    """Line ends to \\n.

    No space at line ends, around the turn and beside full-width signs, no runs of blank lines or spaces.
    """
    if not UNTIDY.search(text):
        return text.strip()
    text = re.sub(r"\r\n?|[\u0085\u2028\u2029]", "\n", text)
    text = re.sub(r"[\u00a0\t]", " ", text)
    text = re.sub(r"(?<=\S) {2,}", " ", text)
    text = re.sub(rf"(?<=[{_WIDE}]) +(?=\S)|(?<=\S) +(?=[{_WIDE}])", "", text)
    text = re.sub(r"[ \u3000]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


# ---------------------------------------------------------------------------------------------------- repairs of turns

ROLE_NAMES = {
    "system": ("system",),
    "human": ("human", "user", "client", "seeker", "patient", "来访者", "求助者", "用户"),
    "gpt": (
        "gpt",
        "assistant",
        "counselor",
        "counsellor",
        "therapist",
        "supporter",
        "bot",
        "心理咨询师",
        "咨询师",
        "支持者",
    ),
}
KNOWN_LABELS = {label: role for role, labels in ROLE_NAMES.items() for label in labels}


def drop_empty_turns(turns: Turns) -> Turns:
    """Turns without a visible character go."""
    return [turn for turn in turns if turn[1].strip()]


def merge_same_role(turns: Turns) -> Turns:
    """Turns of one speaker in a row become one turn, joined by a line end."""
    merged: Turns = []
    for role, text in turns:
        if merged and merged[-1][0] == role:
            merged[-1] = (role, f"{merged[-1][1]}\n{text}")
        else:
            merged.append((role, text))
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


_OWN_TAGS = {
    "human": re.compile(
        r"(?m)^[ \u3000]*(?:来访者|求助者|用户|患者|client|user|human)\s*[:：][ \u3000]*", re.IGNORECASE
    ),
    "gpt": re.compile(
        r"(?m)^[ \u3000]*(?:心理咨询师|咨询师|支持者|医生|心理医生|counsell?or|assistant|gpt)\s*[:：][ \u3000]*",
        re.IGNORECASE,
    ),
}


def drop_own_role_tag(turns: Turns) -> Turns:
    """A label of the turn's own speaker at the start of a line (`医生：` in a counsellor's turn) goes, its text stays."""
    return [(role, _OWN_TAGS[role].sub("", text)) if role in _OWN_TAGS else (role, text) for role, text in turns]


# ----------------------------------------------------------------------------------------------------------- rejections

ROLE_TAG = re.compile(
    r"(?:\A|(?<=[\n。！？!?…”]))[ \u3000]*(?:医生|心理医生|患者|病人|来访者|求助者|心理咨询师|咨询师|支持者|用户|助手|客服|Human|Assistant|User|Client|"
    r"Counsell?or|Therapist|System|GPT)\d?\s*[:：]",
    re.IGNORECASE,
)
_MACHINE = r"(?:人工智能|AI|ＡＩ|大?语言模型|聊天机器人|机器人|虚拟助手|智能助手)"
REFUSAL = re.compile(
    rf"作为(?:一个|一名|一款|一位)?{_MACHINE}[^。！？\n]{{0,40}}(?:无法|不能|没有能力|没有办法|不具备)"
    r"|(?:抱歉|对不起|不好意思)[，,。！ ]{0,2}(?:但)?(?:我|作为)[^。！？\n]{0,12}(?:无法|不能)(?:提供|回答|协助|满足|参与|继续|讨论|处理|完成)"
    r"|\bas an? (?:AI|artificial intelligence|large language model|language model)\b[^.\n]{0,60}\b(?:can(?:no|')t|cannot|unable|not able|do(?:n't| not))"
    r"|\bI(?:'m| am) sorry, but I (?:can(?:no|')t|cannot|am unable|am not able)",
    re.IGNORECASE,
)
_MODELS = (
    r"(?:Chat-?GPT|GPT-?[345]\w*|文心一言|文心大模型|通义千问|Qwen|讯飞星火|ChatGLM|GLM-?\d\w*|Claude|Gemini|LLaMA|InternLM|"
    r"书生[·・•]?浦语|百川大模型|Baichuan|豆包|Kimi|DeepSeek|EmoLLM|SoulChat|MeChat|MindChat|CPsyCounX|PsyChat|BianQue|"
    r"Mistral|Copilot)"
)
_MAKERS = rf"(?:{_MODELS}|OpenAI|Anthropic|百度|阿里云|阿里巴巴|智谱|月之暗面|深度求索|科大讯飞|腾讯|字节跳动)"
OTHER_MODEL = re.compile(
    rf"(?:我|本人|本助手)(?:是|叫做?|名为|的名字(?:是|叫))[^。！？\n]{{0,12}}{_MODELS}"
    rf"|(?:作为|这里是|名为|(?:叫|称呼)我[为做]?){_MODELS}"
    rf"|由[^。！？\n]{{0,10}}{_MAKERS}[^。！？\n]{{0,12}}(?:开发|训练|研发|打造|创造|构建|推出|设计)"
    rf"|\b(?:I(?:'m| am)|my name is|this is)[^.!?\n]{{0,24}}{_MODELS}"
    rf"|\b(?:developed|trained|created|made|built) by[^.!?\n]{{0,24}}{_MAKERS}"
    # names that a self-introduction template was to be filled with
    r"|<(?:AUTHOR|NAME)>|\{\{(?:AUTHOR|NAME)\}\}",
    re.IGNORECASE,
)
MACHINE_IDENTITY = re.compile(
    rf"(?:我|本人)(?:只是|仅仅是|其实是|是)(?:一个|一名|一款|一位|个)?[^。！？\n，,]{{0,8}}{_MACHINE}"
    rf"|作为(?:一个|一名|一款|一位)?{_MACHINE}[，,的助]"
    r"|我[^。！？\n]{0,16}(?:回答|协助|帮助|为)用户|我的[^。！？\n]{0,12}(?:训练数据|训练过程|自然语言)"
    r"|\b(?:as an?|I(?:'m| am)(?: just| only)? an?) "
    r"(?:AI|artificial intelligence|large language model|language model|chatbot)\b",
    re.IGNORECASE,
)


def _in_turns(pattern: re.Pattern[str], *roles: str) -> Callable[["Cleaner", Turns], bool]:
    """True when the pattern is found in a turn of these roles."""
    return lambda cleaner, turns: any(role in roles and pattern.search(text) is not None for role, text in turns)


def _too_few(cleaner: "Cleaner", turns: Turns) -> bool:
    return sum(role != "system" for role, _ in turns) < cleaner.min_turns


def _special(cleaner: "Cleaner", turns: Turns) -> bool:
    return any(cleaner.special.search(text) for _, text in turns)


# ---------------------------------------------------------------------------------------------------------------- order


@dataclass(frozen=True)
class TextRepair:
    """A repair of each turn's text. `needs` (None: no shortcut) must be found somewhere for the step to be tried."""

    name: str
    fix: Callable[[str], str]
    needs: re.Pattern[str] | None


TEXT_REPAIRS = (
    TextRepair("mojibake", fix_mojibake, MAYBE_MOJIBAKE),
    TextRepair("html", fix_html, re.compile("[&<]")),
    TextRepair("invisible", fix_invisible, INVISIBLE),
    TextRepair("unicode_nfc", fix_unicode, None),
    TextRepair("whitespace", fix_whitespace, None),
)
MASKS = (
    "mask_email",
    "mask_url",
    "mask_id_card",
    "mask_bank_card",
    "mask_qq",
    "mask_wechat",
    "mask_mobile",
    "mask_landline",
)
TURN_REPAIRS: tuple[tuple[str, Callable[[Turns], Turns]], ...] = (
    ("empty_turn", drop_empty_turns),
    ("own_role_tag", drop_own_role_tag),
    ("same_role_turns", merge_same_role),
    ("leading_counsellor_turn", drop_leading_counsellor),
    ("trailing_client_turn", drop_trailing_client),
)
CONTENT_REJECTIONS: tuple[tuple[str, Callable[["Cleaner", Turns], bool]], ...] = (
    ("role_tag_in_turn", _in_turns(ROLE_TAG, "human", "gpt")),
    ("refusal", _in_turns(REFUSAL, "gpt")),
    ("other_model_identity", _in_turns(OTHER_MODEL, "gpt", "system")),
    ("machine_identity", _in_turns(MACHINE_IDENTITY, "gpt")),
    ("special_token", _special),
    ("too_few_turns", _too_few),
)
REPAIRS = tuple(step.name for step in TEXT_REPAIRS) + MASKS + tuple(name for name, _ in TURN_REPAIRS)
# The last three look at more than one dialogue or need the tokenizer: scripts/clean_dialogues.py decides them.
REJECTIONS = tuple(name for name, _ in CONTENT_REJECTIONS) + ("over_long", "exact_duplicate", "near_duplicate")
REQUIRED = ("malformed", "unknown_role", "turns_out_of_order")
STEPS = REPAIRS + REJECTIONS


@dataclass
class Cleaned:
    """What became of one dialogue. `masked` counts the pieces of personal data by step."""

    turns: Turns
    fixes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    masked: Counter[str] = field(default_factory=Counter)


class Cleaner:
    """The chosen steps with their settings, made once for many dialogues."""

    def __init__(
        self,
        steps: Mapping[str, bool],
        role_map: Mapping[str, str],
        min_turns: int,
        hotlines: Hotlines,
        special: re.Pattern[str],
    ) -> None:
        check_steps(steps)
        for label, role in role_map.items():
            if role not in ROLE_NAMES:
                raise UserError(f"role_map: {label!r} is mapped to {role!r}; expected human, gpt or system")
        self.labels = KNOWN_LABELS | {_fold_label(label): role for label, role in role_map.items()}
        self.min_turns = min_turns
        self.special = special
        self.text_repairs = [step for step in TEXT_REPAIRS if steps[step.name]]
        masks = maskers(hotlines)
        self.masks: list[tuple[str, Mask]] = [(name, masks[name]) for name in MASKS if steps[name]]
        self.turn_repairs = [(name, fix) for name, fix in TURN_REPAIRS if steps[name]]
        self.rejections = [(name, test) for name, test in CONTENT_REJECTIONS if steps[name]]

    def clean(self, turns: Turns) -> Cleaned:
        """Repair and judge one dialogue given as (label, text) turns."""
        done = Cleaned(turns)
        self._repair_text(done)
        if not self._name_roles(done):
            done.reasons.append("unknown_role")
            return done
        for name, fix in self.turn_repairs:
            repaired = fix(done.turns)
            if repaired != done.turns:
                done.turns = repaired
                done.fixes.append(name)
        done.reasons += [name for name, test in self.rejections if test(self, done.turns)]
        if not done.reasons and not in_order(done.turns):
            done.reasons.append("turns_out_of_order")
        return done

    def _repair_text(self, done: Cleaned) -> None:
        texts = [text for _, text in done.turns]
        whole = "\n".join(texts)
        for step in self.text_repairs:
            if step.needs is not None and not step.needs.search(whole):
                continue
            repaired = [step.fix(text) for text in texts]
            if repaired != texts:
                texts, whole = repaired, "\n".join(repaired)
                done.fixes.append(step.name)
        if MAY_HOLD.search(whole):
            for index, text in enumerate(texts):
                if MAY_HOLD.search(text):
                    texts[index] = self._mask(text, done.masked)
            done.fixes += [name for name, _ in self.masks if name in done.masked]
        done.turns = [(label, text) for (label, _), text in zip(done.turns, texts, strict=True)]

    def _mask(self, text: str, counts: Counter[str]) -> str:
        for name, mask in self.masks:
            text, count = mask(text)
            if count:
                counts[name] += count
        return text

    def _name_roles(self, done: Cleaned) -> bool:
        """Labels to human, gpt or system; False when one is unknown."""
        named: Turns = []
        for label, text in done.turns:
            role = label if label in ROLE_NAMES else self.labels.get(_fold_label(label))
            if role is None:
                return False
            named.append((role, text))
        if named != done.turns:
            done.turns = named
            done.fixes.append("role_name")
        return True


def _fold_label(label: str) -> str:
    return label.strip().rstrip(":：").strip().lower()


def in_order(turns: Turns) -> bool:
    """True for an optional system turn followed by one or more (client, counsellor) pairs, none empty.

    What a trainer takes.
    """
    spoken = turns[1:] if turns and turns[0][0] == "system" else turns
    roles = [role for role, _ in spoken]
    return bool(roles) and roles == ["human", "gpt"] * (len(roles) // 2) and all(text.strip() for _, text in turns)


def check_steps(steps: Mapping[str, bool]) -> None:
    """A step that is unknown or left out is a UserError."""
    if unknown := sorted(set(steps) - set(STEPS)):
        raise UserError(f"steps: found {', '.join(unknown)}, expected only {', '.join(STEPS)}")
    if missing := [name for name in STEPS if name not in steps]:
        raise UserError(f"steps: {', '.join(missing)} missing; give true or false for every step")
