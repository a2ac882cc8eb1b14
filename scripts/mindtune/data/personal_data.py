"""Personal data in Chinese counselling text, found by pattern and checksum and replaced by typed
placeholders.

Every kind is one function from text to (text, number masked). Official hotlines are never touched:
a model that tuned on `请拨打[电话]` could not name the number that matters. A number that the text
itself calls a help line is kept too, and given to a person to look at.
"""

import re
from collections.abc import Callable

from mindtune.data.hotlines import LINE_WORDS, Hotlines, called_a_line, is_listed

Mask = Callable[[str], tuple[str, int]]

# Digits and signs that people type in full width, mapped one to one, so that positions stay the
# same.
_HALF_WIDTH = str.maketrans("０１２３４５６７８９－＋（）＠．：", "0123456789-+()@.:")
_FULL_WIDTH = re.compile("[０-９－＋（）＠．：]")
# Not inside a longer number, word or hexadecimal id. (\b would not do: Chinese characters are word
# characters.)
_BEFORE, _AFTER = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"

URL = re.compile(
    r"(?:https?://|www\.)[^\s\u3000-\u303f\u4e00-\u9fff\uff00-\uffef<>\"'“”‘’]+"
    r"|(?<![0-9A-Za-z@.-])(?:[A-Za-z0-9-]+\.)+(?:com|cn|net|org|edu|gov)(?![A-Za-z0-9-])(?:/[\w./?=&%#-]*)?",
    re.ASCII | re.IGNORECASE,
)
EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![A-Za-z0-9])", re.ASCII
)
ID_CARD = re.compile(
    _BEFORE
    + r"[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]"
    + _AFTER
)
BANK_CARD = re.compile(_BEFORE + r"[3-6]\d{3}(?:[ -]?\d{4}){2,3}(?:[ -]?\d{1,3})?" + _AFTER)
MOBILE = re.compile(_BEFORE + r"(?:(?:\+|00)?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}" + _AFTER)
LANDLINE = re.compile(
    _BEFORE + (r"(?:\(0\d{2,3}\)|(?:(?:\+|00)?86[ -]?)?0\d{2,3})[ -]?[2-9]\d{2,3}[ -]?\d{4}(?:[ "
r"-]\d{1,5})?") + _AFTER
    + r"|" + _BEFORE + r"[48]00(?:[ -]?\d{3,4}){2}" + _AFTER
    + r"|(?<=电话|座机|号码|拨打|致电)[是为:\s]{0,3}[2-9]\d{2,3}[ -]?\d{4}" + _AFTER
)  # fmt: skip
QQ = re.compile(
    r"(?<![A-Za-z])((?:QQ|扣扣|企鹅)(?:号码?|群号?)?[是为: ]{0,3})([1-9]\d{4,10})" + _AFTER,
    re.IGNORECASE,
)
WECHAT = re.compile(
    (
        r"((?:微信号?|(?<![A-Za-z])(?:wechat|weixin|wx|vx)号?|[vV薇]信号?|加[vV])(?:[是为: "
        r"]{1,3}|(?<=号)))([A-Za-z][A-Za-z0-9_-]{5,19})"
    )
    + _AFTER,
    re.IGNORECASE,
)
# Figures as they are said: 一三八零零一三八零零零, with 幺 for one.
_FIGURES = "0-9〇零○一二三四五六七八九幺壹贰叁肆伍陆柒捌玖"
SPELT_MOBILE = re.compile(
    rf"(?<![{_FIGURES}十百])[一幺壹][ ，,·—-]?[三四五六七八九叁肆伍陆柒捌玖3-9](?:[ ，"
    rf",·—-]?[{_FIGURES}]){{9}}(?![{_FIGURES}十百千万年月])"
)
_SPELT = re.compile("[一幺壹][ ，,·—-]?[三四五六七八九叁肆伍陆柒捌玖]")
_NUMBER = re.compile(r"(?<![0-9A-Za-z])[+(]?\d[\d ()-]{5,18}\d(?![0-9A-Za-z])")
_DIGIT = re.compile(r"\d")
_THREE_DIGITS = re.compile("[0-9０-９]{3}")
_SIGNS = re.compile(
    r"@|＠|http|www\.|\.com|\.cn|\.net|\.org|\.edu|\.gov|微信|v信|薇信|加v|wechat|weixin|wx|vx"
)


def may_hold(text: str) -> bool:
    """False when no pattern can match: most turns are not looked at further."""
    return (
        _THREE_DIGITS.search(text) is not None
        or _SIGNS.search(text.lower()) is not None
        or _SPELT.search(text) is not None
    )


def numbers_to_look_at(text: str, hotlines: Hotlines) -> list[str]:
    """Numbers that the text calls a help line and that config/hotlines.yaml does not know."""
    if not _DIGIT.search(text) or not LINE_WORDS.search(text):
        return []
    half = text.translate(_HALF_WIDTH) if _FULL_WIDTH.search(text) else text
    return [
        match[0]
        for match in _NUMBER.finditer(half)
        if called_a_line(half, match.start(), match.end())
        and not is_listed(half, match.start(), match.end(), hotlines)
    ]


def id_card_is_valid(number: str) -> bool:
    """The check digit of GB 11643-1999 (ISO 7064 MOD 11-2): weights are 2^(17-i) mod 11."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(weight * int(digit) for weight, digit in zip(weights, number, strict=False))
    return "10X98765432"[total % 11] == number[17].upper()


def luhn_is_valid(number: str) -> bool:
    """The Luhn check of ISO/IEC 7812 bank card numbers."""
    digits = [int(digit) for digit in reversed(number)]
    return sum(digits[0::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0


def _masker(
    pattern: re.Pattern[str],
    placeholder: str,
    accept: Callable[[re.Match[str], str], bool] = lambda match, found: True,
    fold: bool = True,
) -> Mask:
    """Replace the last group of every accepted match (the whole match where there is no group).

    `fold` reads full-width digits and signs as half-width ones.
    """
    group = pattern.groups

    def mask(text: str) -> tuple[str, int]:
        pieces, last, count = [], 0, 0
        for match in pattern.finditer(
            text.translate(_HALF_WIDTH) if fold and _FULL_WIDTH.search(text) else text
        ):
            if accept(match, match[group]):
                pieces += [text[last : match.start(group)], placeholder]
                last, count = match.end(group), count + 1
        return ("".join(pieces) + text[last:], count) if count else (text, 0)

    return mask


def _both(first: Mask, second: Mask) -> Mask:
    def mask(text: str) -> tuple[str, int]:
        text, masked = first(text)
        text, more = second(text)
        return text, masked + more

    return mask


def maskers(hotlines: Hotlines) -> dict[str, Mask]:
    """Step name -> masking function, in the order in which they must run.

    What holds digits of another kind comes first.
    """

    def is_id_card(match: re.Match[str], found: str) -> bool:
        return id_card_is_valid(found)

    def is_bank_card(match: re.Match[str], found: str) -> bool:
        digits = re.sub(r"\D", "", found)
        return 13 <= len(digits) <= 19 and luhn_is_valid(digits)

    def is_private(match: re.Match[str], found: str) -> bool:
        place = (match.string, match.start(), match.end())
        return not called_a_line(*place) and not is_listed(*place, hotlines)

    spelt = _masker(SPELT_MOBILE, "[电话]", is_private)
    return {
        "mask_email": _masker(EMAIL, "[邮箱]"),
        "mask_url": _masker(URL, "[网址]", fold=False),
        "mask_id_card": _masker(ID_CARD, "[身份证]", is_id_card),
        "mask_bank_card": _masker(BANK_CARD, "[银行卡]", is_bank_card),
        "mask_qq": _masker(QQ, "[QQ]"),
        "mask_wechat": _masker(WECHAT, "[微信]"),
        "mask_mobile": _both(_masker(MOBILE, "[电话]", is_private), spelt),
        "mask_landline": _masker(LANDLINE, "[电话]", is_private),
    }
