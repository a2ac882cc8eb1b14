"""Chat templates: the known ones as before, all others named and within bounds."""

import json
import time

import pytest
from mindtune.chat_template import load_chat_template
from mindtune.chat_templates import DIFFERENT, BoundedTemplate, check_templates, digest, named
from mindtune.cli import UserError
from mindtune.data.tiktoken_ranks import CHAT_TEMPLATE

CHAT = [
    {"role": "user", "content": "我睡不着\n<b>{{ x }}</b> 🙂"},
    {"role": "assistant", "content": "多久了？"},
]
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HARMFUL = {
    "memory": "{{ 'a' * 10**9 }}",
    "memory, from a message": "{{ messages[0].content.ljust(10**9) }}",
    "memory, from a format": "{{ '%1000000000d' | format(1) }}",
    "doubling": "{% set n = namespace(x='长') %}{% for m in messages %}{% set n.x = n.x ~ n.x %}{% "
    "endfor %}{{ n.x }}",
    "text": "{% for m in messages %}{% for k in messages %}{{ m.content }}-----------{% endfor "
    "%}{% endfor %}",
    "long": " " * 300_000,
}


def folder_with(tmp_path, template, config=None):
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|im_end|>", **(config or {})})
    )
    if template is not None:
        (tmp_path / "chat_template.jinja").write_text(template, encoding="utf-8")
    return tmp_path


def test_a_known_template_is_named_with_and_without_its_last_line_break():
    assert (
        named(CHAT_TEMPLATE)["name"]
        == named(CHAT_TEMPLATE.removesuffix("\n"))["name"]
        == "Qwen2.5-Instruct without tools"
    )
    changed = named(CHAT_TEMPLATE.replace("Alibaba Cloud", "somebody"))
    assert changed["name"] == DIFFERENT and changed["sha256"] == digest(
        CHAT_TEMPLATE.replace("Alibaba Cloud", "somebody")
    )


@pytest.mark.parametrize("ask", [False, True])
def test_a_template_in_bounds_gives_the_text_that_it_gives_without(tmp_path, ask):
    known = load_chat_template(folder_with(tmp_path, CHAT_TEMPLATE)).render(CHAT, ask)
    other = load_chat_template(folder_with(tmp_path, "{#- changed #}" + CHAT_TEMPLATE))
    assert isinstance(other.template, BoundedTemplate)
    assert other.render(CHAT, ask) == known
    other.template.close()


@pytest.mark.parametrize("kind", HARMFUL)
def test_a_template_that_takes_too_much_is_refused_before_anything_loads_the_folder(tmp_path, kind):
    started = time.monotonic()
    with pytest.raises(
        UserError, match="chat_template.jinja: the chat template (takes more than|has)"
    ):
        check_templates(folder_with(tmp_path, HARMFUL[kind]))
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json", "a second name"])
def test_a_template_that_does_not_end_is_refused_wherever_it_stands(tmp_path, place):
    template = None if place != "chat_template.jinja" else ENDLESS
    entries = [
        {"name": "default", "template": CHAT_TEMPLATE},
        {"name": "tool_use", "template": ENDLESS},
    ]
    config = {"chat_template": entries if place == "a second name" else ENDLESS}
    with pytest.raises(UserError, match="takes more than 3 s of a processor"):
        check_templates(folder_with(tmp_path, template, config if template is None else {}))


def test_one_that_waits_for_a_certain_message_is_stopped_when_it_comes(tmp_path):
    """No trial can find this; so whatever is not known is rendered in bounds every time."""
    sly = (
        "{% if '暗号' in messages[0].content %}" + ENDLESS + "{% endif %}{{ messages[0].content }}"
    )
    folder = folder_with(tmp_path, sly)
    check_templates(folder)
    template = load_chat_template(folder)
    assert template.render([{"role": "user", "content": "你好"}]) == "你好"
    with pytest.raises(UserError, match="takes more than 3 s of a processor"):
        template.render([{"role": "user", "content": "暗号"}])
    assert template.render([{"role": "user", "content": "再见"}]) == "再见", (
        "the next message has a process of its own"
    )
    template.template.close()


def test_what_a_template_refuses_or_cannot_parse_is_a_sentence(tmp_path):
    template = load_chat_template(folder_with(tmp_path, "{{ raise_exception('只要用户') }}"))
    with pytest.raises(
        UserError, match="refuses a dialogue with the roles user, assistant .*只要用户"
    ):
        template.render(CHAT)
    template.template.close()
    with pytest.raises(UserError, match="does not parse"):
        check_templates(folder_with(tmp_path, "{% for m in messages %}"))
