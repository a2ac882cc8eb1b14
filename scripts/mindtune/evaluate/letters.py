"""Which letters a reply names as its answer. What names none, or names two different answers, is
unparsable: that is counted apart from wrong.
"""

import re
import unicodedata
from collections.abc import Sequence

LETTER = r"(?:\([A-H]\)|[A-H]{1,8}(?![A-Za-z]))"
MORE = rf"(?:\s*(?:[,、;/&+和与及]|and|\s)*\s*{LETTER})*"
LEAD = (
    r"(?:答案|正确选项|正确的?选项|选项|应该?选择?|选择|选|(?<![a-z])answers?|options?|choices?)"
    r"(?:[^A-H\n。.,，;；]{0,12}?(?:是|为|应为|is|are|:)|:)?\s*(?:选项|option)?\s*"
)
STATED = re.compile(rf"(?i:{LEAD})({LETTER}{MORE})")
LEADING = re.compile(
    rf"[^\w(]*({LETTER}{MORE})(?=\s*(?:$|[.,:;)\]、。"
    rf"!?\n]|(?!或|都|还是|和|与|及)[一-鿿]|[-–—]|because|since|is))"
)
ALONE = re.compile(r"(?<![A-Za-z])([A-H])(?![A-Za-z'])")
# Said of every question, and so of none: 'the correct answer is always A'
ALWAYS = re.compile(
    r"[^。.!?\n]*\b(?:always|every question)\b[^。.!?\n]*"
    r"|[^。.!?\n]*(?:总是|永远|一律|每道题|每一题)[^。.!?\n]*",
    re.I,
)
NEGATED = re.compile(
    r"(?:不是|不选|不应|并非|排除|错误|(?<![a-z])not|isn't|except|exclude)[^,;。.!?\n]{0,8}$", re.I
)
REFUTED = re.compile(
    r"\s*(?:项|选项)?\s*(?:都|均|也)?(?:不对|不正确|错|是错|is wrong|are wrong|is incorrect)"
)
# 'A' before a small letter is an English article
ARTICLE = re.compile(r"\s+[a-z]")


def normalised(reply: str) -> str:
    """A reply with half-width letters and signs, without Markdown and LaTeX around them."""
    text = unicodedata.normalize("NFKC", reply)
    text = re.sub(r"\\boxed\{([^{}]*)\}|\\text\{([^{}]*)\}", r"\1\2", text)
    return re.sub(r"[*$`_#「」【】\[\]\"“”]", "", text).strip()


def letters_of(found: str, offered: str) -> frozenset[str]:
    """The offered letters in a matched run such as 'A和C'."""
    return frozenset(letter for letter in re.findall("[A-H]", found) if letter in offered)


def parse_letters(reply: str, options: Sequence[str]) -> frozenset[str] | None:
    """The letters that a reply answers with, for options in the order of the letters; None if it
    cannot be told.
    """
    offered = "ABCDEFGH"[: len(options)]
    text = ALWAYS.sub("", normalised(reply)).strip()
    bare = text.strip(" .。()")
    if re.fullmatch(f"[{offered}]+", bare.upper()) and (len(bare) == 1 or bare.isupper()):
        return frozenset(bare.upper())
    if bare in [normalised(option).strip(" .。()") for option in options]:
        return frozenset(offered[[normalised(o).strip(" .。()") for o in options].index(bare)])
    if lead := run_of_letters(text):
        return letters_of(lead, offered) or None
    stated = {
        letters_of(match[1], offered)
        for match in STATED.finditer(text)
        if not NEGATED.search(match[0][: match.start(1) - match.start()])
        and not NEGATED.search(text[max(0, match.start() - 8) : match.start()])
        and not REFUTED.match(text, match.end())
        and not is_article(text, match.start(1))
    } - {frozenset()}
    if stated:
        return stated.pop() if len(stated) == 1 else None
    alone = {
        match[1]
        for match in ALONE.finditer(text)
        if match[1] in offered
        and not NEGATED.search(text[max(0, match.start() - 12) : match.start()])
        and not REFUTED.match(text, match.end())
        and not is_article(text, match.start())
    }
    return frozenset(alone) if len(alone) == 1 else None


def run_of_letters(text: str) -> str:
    """The letters with which a text begins, if it begins with an answer: 'A和C', 'ACD',
    'B。因为'.
    """
    found = LEADING.match(text)
    wrong = not found or is_article(text, found.start(1)) or REFUTED.match(text, found.end(1))
    return "" if wrong else found[1]


def is_article(text: str, place: int) -> bool:
    """Whether the A at a place is the English word 'a' at the start of a sentence."""
    place += text[place] == "("
    return (
        text[place] == "A"
        and ARTICLE.match(text, place + 1) is not None
        and not re.match(r"\s+(?:and|because|since|is)\b", text[place + 1 :])
    )
