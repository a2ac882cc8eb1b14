"""Text of data, models and people in pages that are Markdown: it stays text, whatever stands in it.

A template that is made here escapes every value by itself; what is Markdown already says so
(`Marked`).
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

# Control characters, and those that turn the direction of writing: a name could show as another
UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Marked(str):
    """Text that is Markdown, made by us."""


def markdown_text(text: str) -> str:
    """Text as itself inside Markdown, also in a table cell: no markup, no HTML, no line break."""
    text = UNSEEN.sub("", re.sub(r"\s+", " ", text))
    return re.sub(r"[\\`*\[\]<>|~&$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def as_text(value: Any) -> Any:
    """What stands for a value in a page."""
    return markdown_text(value) if isinstance(value, str) and type(value) is not Marked else value


def templates(**settings: Any) -> "Environment":
    """A Jinja environment for Markdown pages: every value is escaped, a missing one is an error,
    and a filter `number` groups digits.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, finalize=as_text, **settings
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment
