"""Text of others in Markdown pages: the renderer of GitHub's dialect sees no markup in it."""

import pytest
from markdown_it import MarkdownIt
from mindtune.markdown import Marked, markdown_text, templates

HOSTILE = [
    "<svg onload=alert(1)>",
    "a\n\n## In a crisis: call 900-1\n\n",
    "a\r\n> [here](javascript:alert(1))",
    "| x | y |\n|---|---|\n",
    "![i](http://x/y.png) <http://x> &lt;b&gt;",
    "*bold* _thin_ `code` ~~gone~~ **b** $x^2$",
    "\\*a\\*",
    "a\u2028## b\u0085# c\x0b# d",
    "exe.\u202egpj\x1b[2J\x00",
    "---\nlicense: mit\n---",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "page", ["{{ text }}", "- Licence: {{ text }}.", "| a |\n|---|\n| {{ text }} |"]
)
def test_others_text_is_only_text(text, page):
    shown = templates().from_string(page).render(text=text)
    plain = templates().from_string(page).render(text="words")
    kinds = [
        [token.type for token in MarkdownIt("gfm-like", {"linkify": False}).parse(source)]
        for source in (shown, plain)
    ]
    if page.startswith("{{") and text.startswith("---"):
        return  # a value at the start of a page is the front matter, which is Marked
    assert kinds[0] == kinds[1], shown
    for block in MarkdownIt("gfm-like", {"linkify": False}).parse(shown):
        for token in block.children or []:
            assert token.type in ("text", "text_special"), (token.type, shown)
    assert not any(ord(sign) < 32 and sign != "\n" for sign in shown) and "\u202e" not in shown


def test_names_stay_as_they_are_read():
    for name in (
        "Qwen/Qwen2.5-7B-Instruct",
        "exact_duplicate",
        "q_proj k_proj",
        "数据 1.jsonl",
        "CC-BY-4.0",
    ):
        assert markdown_text(name) == name


def test_what_is_markdown_already_is_left():
    assert templates().from_string("{{ a }}{{ b }}{{ 7 }}").render(a=Marked("*a*"), b="*b*") == (
        "*a*\\*b\\*7"
    )
