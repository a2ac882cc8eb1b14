"""Words of Chinese and English text, for scores."""

import re
from functools import lru_cache

# Han (with extensions) and kana: written without spaces, so one character is one token.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = rf"(?:(?![{CJK}_])\w)+"
# A word keeps its inner hyphens and apostrophes ("phq-9", "don't"), a number its decimal point.
TOKEN = re.compile(rf"[{CJK}]|{WORD}(?:(?:[-'’]|(?<=\d)\.(?=\d)){WORD})*|\S")
CHARACTER = re.compile(f"[{CJK}]")
SIGNATURE = "tok:cjk-char+word|case:lower|punct:kept"
CACHED = 1 << 12
# A language is asked of every reply again and again, and takes little room
LANGUAGES = 1 << 17


@lru_cache(maxsize=CACHED)
def tokenize(text: str) -> tuple[str, ...]:
    """Split text into CJK characters, whole words and numbers in lower case, and single
    punctuation marks.
    """
    return tuple(TOKEN.findall(text.lower()))


@lru_cache(maxsize=LANGUAGES)
def is_chinese(text: str) -> bool:
    """True if at least half of the words of a text are CJK characters; punctuation does not
    count.
    """
    words = [token for token in tokenize(text) if token[0].isalnum()]
    return 2 * sum(CHARACTER.match(word) is not None for word in words) >= max(len(words), 1)


def ngrams(text: str, order: int) -> list[tuple[str, ...]]:
    """The n-grams of a text's tokens, in order, repeats included."""
    tokens = tokenize(text)
    return [tokens[start : start + order] for start in range(len(tokens) - order + 1)]
