"""The language of a text, told by its script alone: exact, fast, and blind to languages that share
a script.

zh is Han script, en is Latin script (German passes as en), ja is Han with kana, ko is Hangul,
other is the rest.
"""

import re

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


def language_of(text: str) -> str | None:
    """One of LANGUAGES, by the script with most words; None where there are too few letters to
    tell.
    """
    han, latin = _letters(_HAN, text), _letters(_LATIN, text)
    scripts = {"zh": han, "en": latin / LETTERS_A_SIGN}
    letters = han + latin
    if _NEITHER.search(text):
        kana, hangul, other = (_letters(pattern, text) for pattern in (_KANA, _HANGUL, _OTHER))
        letters += kana + hangul + other
        scripts |= {
            "ja": kana * 10 if kana * 10 > han else 0,
            "ko": hangul,
            "other": other / LETTERS_A_SIGN,
        }
    if letters < MIN_LETTERS:
        return None
    return max(scripts, key=lambda language: scripts[language])
