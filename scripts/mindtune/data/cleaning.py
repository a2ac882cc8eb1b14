"""The cleaning steps: what each one repairs or rejects, in the order in which they run.

A repair changes turns and leaves its name in the row's `fixes`; a rejection leaves its name in
`reasons`. Every step of REPAIRS and REJECTIONS can be switched off by name; REQUIRED reasons
cannot, because rows that fail them have no dialogue in them. Cleaning a clean dialogue changes
nothing.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mindtune.cli import UserError
from mindtune.data.language import LANGUAGES
from mindtune.data.personal_data import Hotlines, Mask, maskers, may_hold
from mindtune.data.rejections import CONTENT_REJECTIONS, Rules, Turns

# ------------------------------------------------------------------------------------------------------ repairs of text

_TAGS = (
    "a|abbr|article|b|big|blockquote|body|br|center|code|dd|del|div|dl|dt|em|figure|font|footer|h[1-6]|head|header|hr|html|i|"
    "img|input|ins|label|li|link|main|meta|nav|ol|option|p|pre|s|section|small|span|strong|sub|sup|table|tbody|td|tfoot|th|"
    "thead|title|tr|tt|u|ul|video"
)
HTML_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
HTML_DROPPED = re.compile(
    r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL
)
HTML_BREAK = re.compile(
    r"<(?:br|hr)\s*/?>|</(?:p|div|li|tr|h[1-6]|blockquote|section|article|pre|table)\s*>",
    re.IGNORECASE,
)
HTML_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)

# Zero-width and direction marks, controls but tab and line ends, private use, non-characters, lone
# surrogates, tag characters. The joiner U+200D stays inside emoji, which it holds together.
INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    r"\ud800-\udfff\ue000-\uf8ff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
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
MAYBE_UNTIDY = (" ", "\r", "\x85", "\u2028", "\u2029", "\xa0", "\t", "\u3000", "\n\n\n")
UNTIDY = re.compile(rf"[\r\u0085\u2028\u2029\u00a0\t]|[ \u3000]\n|\n\n\n|  |[{_WIDE}] | [{_WIDE}]")


def fix_mojibake(text: str) -> str:
    """Undo UTF-8 read as a one-byte encoding. ftfy is held to decoding: width, quotes and
    punctuation stay.
    """
    import ftfy

    config = ftfy.TextFixerConfig(
        replace_lossy_sequences=False, fix_c1_controls=False, explain=False
    )
    return ftfy.fix_encoding(text, config) if MAYBE_MOJIBAKE.search(text) else text


def fix_html(text: str) -> str:
    """Entities to characters, line-breaking tags to line ends, known other tags away. `a < b`
    stays.
    """
    while (plain := HTML_ENTITY.sub(lambda match: html.unescape(match[0]), text)) != text:
        text = plain  # `&amp;nbsp;` takes two rounds
    if "<" in text:
        text = HTML_TAG.sub("", HTML_BREAK.sub("\n", HTML_DROPPED.sub("", text)))
    return text


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


def fix_narration(text: str) -> str:
    """A line that is one bracketed remark, `（一段时间后）`, tells of the talk and is not said in
    it. Brackets in a sentence stay.
    """
    return NARRATION.sub("", text)


def fix_whitespace(text: str) -> str:
    """Line ends to \\n.

    No space at line ends, around the turn and beside full-width signs, no runs of blank lines or
    spaces.
    """
    if not any(sign in text for sign in MAYBE_UNTIDY) or not UNTIDY.search(text):
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
    "human": (
        "human", "user", "client", "seeker", "help-seeker", "patient", "来访者", "求助者", "用户", "患者", "病人", "倾诉者",
    ),
    "gpt": (
        "gpt", "assistant", "counselor", "counsellor", "therapist", "supporter", "listener", "helper", "doctor", "bot",
        "心理咨询师", "咨询师", "支持者", "倾听者", "助人者", "医生", "助手",
    ),
}  # fmt: skip
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
        r"(?m)^[ \u3000]*(?:来访者|求助者|用户|患者|client|user|human)\s*[:：][ \u3000]*",
        re.IGNORECASE,
    ),
    "gpt": re.compile(
        r"(?m)^[ "
        r"\u3000]*(?:心理咨询师|咨询师|支持者|医生|心理医生|counsell?or|assistant|gpt)\s*[:：][ "
        r"\u3000]*",
        re.IGNORECASE,
    ),
}


def drop_own_role_tag(turns: Turns) -> Turns:
    """A label of the turn's own speaker at the start of a line (`医生：` in a counsellor's turn)
    goes, its text stays.
    """
    return [
        (role, _OWN_TAGS[role].sub("", text))
        if role in _OWN_TAGS and ("：" in text or ":" in text)
        else (role, text)
        for role, text in turns
    ]


# ---------------------------------------------------------------------------------------------------------------- order


@dataclass(frozen=True)
class TextRepair:
    """A repair of each turn's text. `needs` (None: no shortcut) must be found somewhere for the
    step to be tried.
    """

    name: str
    fix: Callable[[str], str]
    needs: re.Pattern[str] | None


TEXT_REPAIRS = (
    TextRepair("mojibake", fix_mojibake, MAYBE_MOJIBAKE),
    TextRepair("html", fix_html, re.compile("[&<]")),
    TextRepair("invisible", fix_invisible, MAYBE_INVISIBLE),
    TextRepair("unicode_nfc", fix_unicode, None),
    TextRepair("narration", fix_narration, NARRATION),
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
REPAIRS = (
    tuple(step.name for step in TEXT_REPAIRS) + MASKS + tuple(name for name, _ in TURN_REPAIRS)
)
# Decided where the tokenizer is (mindtune/data/row_cleaning.py), and where all dialogues are known
# (mindtune/data/ledger.py).
LATE_REJECTIONS = ("over_long", "exact_duplicate", "near_duplicate", "repeated_line")
REJECTIONS = tuple(name for name, _ in CONTENT_REJECTIONS) + LATE_REJECTIONS
REQUIRED = ("malformed", "unknown_role", "turns_out_of_order")
MIXING = (
    "over_share",
)  # what a source has beyond its weight or limit; not a fault of the dialogue
STEPS = REPAIRS + REJECTIONS
# One repair may uncover work for an earlier one (a dropped `医生：` leaves a line of narration),
# so they run again until nothing changes; real dialogues need two rounds.
MOST_ROUNDS = 8


Watch = Callable[[str, Turns], None]


@dataclass
class Cleaned:
    """What became of one dialogue. `masked` counts the pieces of personal data by step."""

    turns: Turns
    fixes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    masked: Counter[str] = field(default_factory=Counter)

    def change(self, name: str, turns: Turns, watch: Watch) -> None:
        """Take what a step made of the turns, and leave its name."""
        self.turns = turns
        if name not in self.fixes:
            self.fixes.append(name)
        watch(name, turns)


class Cleaner:
    """The chosen steps with their settings, made once for many dialogues."""

    def __init__(
        self,
        steps: Mapping[str, bool],
        role_map: Mapping[str, str],
        min_turns: int,
        languages: Iterable[str],
        hotlines: Hotlines,
        special: re.Pattern[str],
    ) -> None:
        check_steps(steps)
        for label, role in role_map.items():
            if role not in ROLE_NAMES:
                raise UserError(
                    f"role_map: {label!r} is mapped to {role!r}; expected human, gpt or system"
                )
        if unknown := sorted(set(languages) - set(LANGUAGES)):
            raise UserError(
                f"languages: found {', '.join(unknown)}; expected only {', '.join(LANGUAGES)}"
            )
        self.labels = KNOWN_LABELS | {_fold_label(label): role for label, role in role_map.items()}
        self.rules = Rules(min_turns, frozenset(languages), special)
        self.text_repairs = [step for step in TEXT_REPAIRS if steps[step.name]]
        masks = maskers(hotlines)
        self.masks: list[tuple[str, Mask]] = [(name, masks[name]) for name in MASKS if steps[name]]
        self.turn_repairs = [(name, fix) for name, fix in TURN_REPAIRS if steps[name]]
        self.rejections = [(name, test) for name, test in CONTENT_REJECTIONS if steps[name]]

    def clean(self, turns: Turns, watch: Watch = lambda name, turns: None) -> Cleaned:
        """Repair and judge one dialogue given as (label, text) turns; `watch` is told of every
        step that changed them.
        """
        done = Cleaned(turns)
        for _ in range(MOST_ROUNDS):
            before = done.turns
            if not self._repair(done, watch):
                done.reasons.append("unknown_role")
                return done
            if done.turns == before:
                break
        lowered = "\n".join(text for _, text in done.turns).lower()
        done.reasons += [
            name for name, test in self.rejections if test(self.rules, done.turns, lowered)
        ]
        if not done.reasons and not in_order(done.turns):
            done.reasons.append("turns_out_of_order")
        return done

    def _repair(self, done: Cleaned, watch: Watch) -> bool:
        """Run every repair once; False when a label is unknown."""
        self._repair_text(done, watch)
        self._mask(done, watch)
        if not self._name_roles(done, watch):
            return False
        for name, fix in self.turn_repairs:
            repaired = fix(done.turns)
            if repaired != done.turns:
                done.change(name, repaired, watch)
        return True

    def _repair_text(self, done: Cleaned, watch: Watch) -> None:
        texts = [text for _, text in done.turns]
        whole = "\n".join(texts)
        for step in self.text_repairs:
            if step.needs is not None and not step.needs.search(whole):
                continue
            repaired = [step.fix(text) for text in texts]
            if repaired != texts:
                texts, whole = repaired, "\n".join(repaired)
                done.change(step.name, _with_texts(done.turns, texts), watch)

    def _mask(self, done: Cleaned, watch: Watch) -> None:
        texts = [text for _, text in done.turns]
        if not may_hold("\n".join(texts)):
            return
        suspects = [index for index, text in enumerate(texts) if may_hold(text)]
        for name, mask in self.masks:
            found = 0
            for index in suspects:
                texts[index], count = mask(texts[index])
                found += count
            if found:
                done.masked[name] += found
                done.change(name, _with_texts(done.turns, texts), watch)

    def _name_roles(self, done: Cleaned, watch: Watch) -> bool:
        """Labels to human, gpt or system; False when one is unknown."""
        named: Turns = []
        for label, text in done.turns:
            role = label if label in ROLE_NAMES else self.labels.get(_fold_label(label))
            if role is None:
                return False
            named.append((role, text))
        if named != done.turns:
            done.change("role_name", named, watch)
        return True


def _with_texts(turns: Turns, texts: Iterable[str]) -> Turns:
    return [(label, text) for (label, _), text in zip(turns, texts, strict=True)]


def _fold_label(label: str) -> str:
    return label.strip().rstrip(":：").strip().lower()


def in_order(turns: Turns) -> bool:
    """True for an optional system turn followed by one or more (client, counsellor) pairs, none
    empty.

    What a trainer takes.
    """
    spoken = turns[1:] if turns and turns[0][0] == "system" else turns
    roles = [role for role, _ in spoken]
    return (
        bool(roles)
        and roles == ["human", "gpt"] * (len(roles) // 2)
        and all(text.strip() for _, text in turns)
    )


def check_steps(steps: Mapping[str, bool]) -> None:
    """A step that is unknown or left out is a UserError."""
    if unknown := sorted(set(steps) - set(STEPS)):
        raise UserError(f"steps: found {', '.join(unknown)}, expected only {', '.join(STEPS)}")
    if missing := [name for name in STEPS if name not in steps]:
        raise UserError(f"steps: {', '.join(missing)} missing; give true or false for every step")
