"""The language of a text, told by its script, and in Latin script by small words.

zh is Han script, en is Latin script without the small words of another language, ja is Han with
kana, ko is Hangul, other is the rest.
"""

import re
from collections.abc import Iterable

LANGUAGES = ("zh", "en", "ja", "ko", "other")
MIN_LETTERS = 10  # a shorter text, such as "OK, 谢谢", tells nothing
LETTERS_A_SIGN = (
    2  # an alphabet needs about two letters for what one Han character or Hangul block says
)
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_KANA = re.compile(r"[\u3041-\u30ff]+")
_HANGUL = re.compile(r"[\u1100-\u11ff\uac00-\ud7af]+")
_OTHER = re.compile(r"[\u0370-\u05ff\u0600-\u07ff\u0900-\u0fff\u1780-\u17ff]+")
NOT_HAN = re.compile(r"[A-Za-z\u00c0-\u024f\u0370-\u1fff\u3041-\u30ff\uac00-\ud7af]")
_NEITHER = re.compile(r"[\u0370-\u1fff\u3041-\u30ff\uac00-\ud7af]")


def _letters(pattern: re.Pattern[str], text: str) -> int:
    return sum(map(len, pattern.findall(text)))


_NAMES = (
    "英文|英语|中文|汉语|日文|日语|韩文|韩语|法文|法语|德文|德语|西班牙语|俄语|"
    "english|chinese|mandarin|japanese|korean|french|german|spanish|russian"
)
_ASKS = re.compile(
    rf"翻译|译成|译为|(?:用|成|练习?|口语|这句|一段|一封)[^。！？"
    rf"\n]{{0,4}}(?:{_NAMES})|(?:{_NAMES})(?:怎么说|怎么写|作文|邮件|对话|简历|版)"
    rf"|translat|\b(?:in|into|to|answer|speak|write|practi[cs]e)[ a-z]{{0,12}} (?:{_NAMES})",
    re.IGNORECASE,
)
_UNSAID = re.compile(r"https?://\S+|[\w.+-]+@[\w.-]+|\b[A-Za-z]*\d[\w.-]*\b", re.ASCII)
MIXED = 0.05  # from this share of Chinese on, an alphabet may stand for names and terms alone
_CODE_SIGN = re.compile(r"[{}();=<>_\[\]\\/]")
CODE_SHARE = 1 / 12
LEAST_KANA = 5


# Small words that English has not, by language, and those of English.
_SMALL_WORDS = {
    "de": "und ich nicht ist das wie mir mich auch aber eine einen für sie wir habe sehr oder dass",
    "es": "que los las una por para pero muy estoy está qué cómo tengo eres del porque soy",
    "fr": "je vous est pas les des une que avec mais mon ça suis dans qui pour nous très elle",
    "id": "saya anda yang tidak dan ini itu apa adalah dengan untuk aku kamu bisa dari akan",
    "it": "che non sono una per come il della ho cosa è sei gli perché anche questo di mio",
    "nl": "ik het een niet van dat wat maar voor zijn hoe ben met jij geen deze ook je",
    "pl": "nie jest się jak czy ale mnie to że jestem co tak na",
    "pt": "que não uma para mas eu você muito como estou está é meu os são isso",
    "sv": "jag och inte är det att vad har som på om för",
    "tr": "ve bir bu sen değil için çok nasıl evet hayır ama ne var misin benim",
}
_OTHERS = {name: frozenset(words.split()) for name, words in _SMALL_WORDS.items()}
_ANY_OTHER = frozenset().union(*_OTHERS.values())
_ENGLISH_WORDS = (
    "the and you i to is that of it not are was my your what have with for do this be so me can "
    "but we they how am in on a he she his her as at if or from will would about like just"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
LEAST_SMALL_WORDS = 2
_WORD = re.compile(r"[a-z\u00df-\u024f]+")


def _is_english(text: str) -> bool:
    """False when another language's small words are more than twice those of English."""
    words = _WORD.findall(text.lower())
    others = [word for word in words if word in _ANY_OTHER]
    if len(others) < LEAST_SMALL_WORDS:
        return True
    most = max(sum(word in small for word in others) for small in _OTHERS.values())
    return most < LEAST_SMALL_WORDS or most <= 2 * sum(word in _ENGLISH for word in words)


def asks_for_language(turns: Iterable[tuple[str, str]]) -> bool:
    """True when the client asks for another language: a translation, a letter in English."""
    return any(role == "human" and _ASKS.search(text) for role, text in turns)


def _is_said(line: str) -> bool:
    return len(_CODE_SIGN.findall(line)) < CODE_SHARE * len(line) or _HAN.search(line) is not None


def language_of(text: str) -> str | None:
    """One of LANGUAGES, by the script with most words and, in Latin script, by small words.

    None where there are too few letters to tell, and where much Chinese stands in an alphabet.
    Addresses and lines of code are not looked at.
    """
    if _CODE_SIGN.search(text):
        text = "\n".join(filter(_is_said, _UNSAID.sub(" ", text).split("\n")))
    han, latin = _letters(_HAN, text), _letters(_LATIN, text)
    scripts = {"zh": float(han), "en": latin / LETTERS_A_SIGN}
    letters = han + latin
    if _NEITHER.search(text):
        kana, hangul, other = (_letters(pattern, text) for pattern in (_KANA, _HANGUL, _OTHER))
        letters += kana + hangul + other
        scripts |= {
            "ja": float(kana * 10 if kana >= LEAST_KANA and kana * 10 > han else 0),
            "ko": float(hangul),
            "other": other / LETTERS_A_SIGN,
        }
    if letters < MIN_LETTERS:
        return None
    first = max(scripts, key=lambda language: scripts[language])
    if first == "en" and not han and not _is_english(text):
        return "other"
    mixed = first == "en" and scripts["zh"] > MIXED * (scripts["zh"] + scripts["en"])
    return None if mixed else first
