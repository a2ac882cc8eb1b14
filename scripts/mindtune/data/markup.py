"""HTML left over from a web page, apart from HTML and code that a dialogue speaks about.

Every scan is linear in the length of the text, whatever it holds.
"""

import html
import re
from collections.abc import Callable

MOST_ROUNDS = 8  # an entity in an entity in an entity ...: nobody's page is deeper
_BLOCK_TAGS = (
    "article|blockquote|br|center|dd|div|dl|dt|figure|footer|h[1-6]|header|hr|img|li|nav|ol|p|pre|"
    "section|span|table|tbody|td|tfoot|th|thead|tr|tt|ul|video"
)
_TAGS = (
    f"{_BLOCK_TAGS}|a|abbr|b|big|body|code|del|em|font|head|html|i|input|ins|label|link|main|meta|"
    "option|s|small|strong|sub|sup|title|u"
)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,4}38|#[xX]0{0,4}26);)+")
_BREAK = re.compile(
    r"<(?:br|hr)\s*/?>|</(?:p|div|li|tr|h[1-6]|blockquote|section|article|pre|table)\s*>",
    re.IGNORECASE,
)
_TAG = re.compile(rf"<(/?)({_TAGS})((?:\s[^<>]*)?/?)>", re.IGNORECASE)
_BLOCK = re.compile(_BLOCK_TAGS, re.IGNORECASE)
_DROPPED = re.compile(r"<!--|<(script|style)\b[^<>]*>", re.IGNORECASE)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,200}`", re.DOTALL)
_ANY_TAG = re.compile(r"<[^<>]*>")
_SPEAKS_OF_MARKUP = re.compile(
    r"```|`[^`\n]{1,80}`|(?<![A-Za-z])(?:html5?|css3?|xml|svg|javascript|jquery|jsx|tsx|markdown|mathml|latex)(?![A-Za-z])|"
    r"(?:什么|哪个|这个|一个|两个|闭合|结束|自定义|换行)标签|标签(?:怎么用|的作用|是什么|闭合)|转义|富文本|"
    r"\btags?\b|\bsnippet\b|\bsource code\b|\bescap(?:e|ing) (?:char|the)|\bplaceholder",
    re.IGNORECASE,
)
_SPEAKS_OF_CODE = re.compile(
    r"代码|网页|前端|浏览器|程序|占位符|(?<![A-Za-z])(?:python|java|sql|php|react|vue|code|coding|web ?pages?|template)(?![A-Za-z])",  # noqa: E501
    re.IGNORECASE,
)
_NOT_LAYOUT = re.compile(r"<(?!/?(?:br|p|div|span|hr)\b)[A-Za-z/!]", re.IGNORECASE)


def speaks_of_code(text: str) -> bool:
    """True for a dialogue about markup or code: there a tag is what is talked about."""
    said = _ANY_TAG.sub(" ", text)
    return _SPEAKS_OF_MARKUP.search(said) is not None or (
        _SPEAKS_OF_CODE.search(said) is not None and _NOT_LAYOUT.search(text) is not None
    )


def keeps_markup(text: str) -> bool:
    """True where `fix_html` would change nothing, as no tag or entity ends, or must not."""
    return (">" not in text and "&" not in text) or speaks_of_code(text)


def without_code(text: str) -> str:
    """The text without fenced blocks and inline code."""
    return _CODE.sub(" ", text) if "`" in text else text


def outside_code(change: Callable[[str], str], text: str) -> str:
    """Change what stands outside of code, and leave code as it is."""
    if "`" not in text:
        return change(text)
    pieces, last = [], 0
    for match in _CODE.finditer(text):
        pieces += [change(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join((*pieces, change(text[last:])))


def _drop_hidden(text: str) -> str:
    """Comments, scripts and styles go with what is in them; one that never ends stays."""
    lowered, pieces, last = text.lower(), [], 0
    endless: set[str] = set()
    for match in _DROPPED.finditer(text):
        kind = (match[1] or "!").lower()
        if match.start() < last or kind in endless:
            continue
        end = lowered.find("-->" if kind == "!" else f"</{kind}", match.end())
        end = end if kind == "!" or end < 0 else lowered.find(">", end)
        if end < 0:
            endless.add(kind)
            continue
        pieces.append(text[last : match.start()])
        last = end + (3 if kind == "!" else 1)
    return "".join((*pieces, text[last:]))


def _drop_tags(text: str) -> str:
    """Tags of a page's layout go; `<name>` or `<b>` without its other half may be a placeholder."""
    found = {(bool(match[1]), match[2].lower()) for match in _TAG.finditer(text)}
    if not found:
        return text

    def drop(match: re.Match[str]) -> str:
        name = match[2].lower()
        written = match[3].strip(" /")
        if written and "=" not in written:
            return match[0]  # `a<b and c>d`
        layout = written or _BLOCK.fullmatch(name)
        return "" if layout or (not match[1], name) in found else match[0]

    return _TAG.sub(drop, text)


def fix_html(text: str) -> str:
    """Entities to characters, line-breaking tags to line ends, known other tags away.

    `a < b` stays. Entities in entities are undone up to MOST_ROUNDS deep.
    """
    text = _AMPERSANDS.sub("&amp;", text)
    for _ in range(MOST_ROUNDS):
        if (plain := ENTITY.sub(lambda match: html.unescape(match[0]), text)) == text:
            break
        text = plain  # `&amp;nbsp;` takes two rounds
    if "<" in text and ">" in text:
        text = _drop_tags(_BREAK.sub("\n", _drop_hidden(text)))
    return text
