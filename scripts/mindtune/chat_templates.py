"""A model's chat template: which one it is, and how one that nobody here knows is rendered without
harm.

A known template is compiled in this process. Any other is `different`: it is named so in the
record and the model card, tried out before anything loads its folder, and rendered in a process of
its own with bounds on time, memory and text (template_child.py).
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from mindtune import template_child, variables
from mindtune.cli import UserError
from mindtune.model_files import check_json
from mindtune.records import list_files

Message = Mapping[str, str]
# SHA-256 of a template's text without the line break at its end. Published ones as
# models/templates/ of llama.cpp has them (in the package llama-cpp-python 0.3.16), the demo's from
# tiktoken_ranks.py and build_demo_model.py
KNOWN = {
    "55b2f4a26ac9ee719330a61a0c39d9e538b0e9322212f048326318cff4f8674a": "Qwen2.5-Instruct",
    "87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5": "Qwen3",
    "cb2d7aa140bed098f4ac8ab1a403980e6768d58ec95ef701668fc7dd017e0762": "QwQ-32B",
    "93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7": "Llama-3.1-Instruct",
    "d82792f95932f1c9cef5c4bd992f171225e3bf8c7b609b4557c9e1ec96be819f": "Llama-3.2-Instruct",
    "e89eee9a198d076e881e7de9aa9d47dced1f88a49207fc780c5e47bed3a6f9b5": "Qwen2.5-Instruct without "
    "tools",
    "9fe579a2c222698c7ba22d46e26466362fbe951569a89096c366267f9b82ab92": "ChatML",
}
DIFFERENT = "different"
MAX_TEXT = (
    200_000  # characters of a template; the longest published one that was looked at has 17,000
)
HELP = "use the published template of the model's family, or another model"


class Refused(Exception):
    """The template does not take these messages; its own words are the message."""


def digest(text: str) -> str:
    """The hash by which a template is known."""
    return hashlib.sha256(text.removesuffix("\n").encode("utf-8", "surrogatepass")).hexdigest()


def named(text: str) -> dict[str, str]:
    """What a record says of a template."""
    return {"name": KNOWN.get(digest(text), DIFFERENT), "sha256": digest(text)}


def template_text(folder: Path) -> str:
    """chat_template.jinja wins over tokenizer_config.json, as in transformers; of several named
    templates it is `default`.
    """
    file = folder / "chat_template.jinja"
    template: Any = None
    if file.is_file():
        template = _read(file)
    elif (folder / "tokenizer_config.json").is_file():
        template = dict(
            _named_texts(check_json(folder / "tokenizer_config.json").get("chat_template"))
        ).get("default")
    if template is None:
        raise UserError(
            f"{folder} has no chat template: expected chat_template.jinja or the key chat_template "
            f"in tokenizer_config.json; "
            "use the tokenizer of an instruction-tuned model"
        )
    return template


def all_texts(folder: Path) -> list[tuple[Path, str]]:
    """(file, text) of every chat template in a model folder, those among it that only some callers
    choose.
    """
    found = [
        (folder / name, _read(folder / name))
        for name in list_files(folder)
        if name.endswith(".jinja")
    ]
    for name in (
        "tokenizer_config.json",
        "chat_template.json",
        "processor_config.json",
        "preprocessor_config.json",
    ):
        if (folder / name).is_file():
            texts = _named_texts(check_json(folder / name).get("chat_template"))
            found += [(folder / name, text) for _, text in texts]
    return found


def check_templates(folder: Path) -> None:
    """Try every template of a folder that is not known, in bounds: one that goes over them is a
    UserError.
    """
    for file, text in all_texts(folder):
        if digest(text) not in KNOWN:
            BoundedTemplate(text, str(file)).try_out()


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error}); fetch the model again") from error


def _named_texts(template: Any) -> list[tuple[str, str]]:
    if isinstance(template, str):
        return [("default", template)]
    entries = template if isinstance(template, list) else []
    return [
        (str(entry.get("name")), entry["template"])
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("template"), str)
    ]


def trial_chats() -> list[list[Message]]:
    """One turn, many turns, with and without a system prompt, and long texts: what makes most
    templates that grow or loop show it.
    """

    def turns(count: int, text: str) -> list[Message]:
        return [
            {"role": ("user", "assistant")[place % 2], "content": text} for place in range(count)
        ]

    system = {"role": "system", "content": "你是一位温和的心理咨询师。"}
    return [
        turns(1, "你好"),
        [system, *turns(3, "I can't sleep.\n")],
        turns(301, "嗯"),
        [system, *turns(3, "长 text " * 10_000)],
    ]


@dataclass
class BoundedTemplate:
    """A template that is rendered, and before that compiled, only in another process; `source`
    says where it stands.
    """

    text: str
    source: str
    process: subprocess.Popen[str] | None = None
    owner: int = 0
    lock: Any = field(default_factory=Lock)

    def render(self, **given: Any) -> str:
        """The text; Refused if the template refuses, a UserError if it goes over a bound."""
        with self.lock:
            if (
                self.process is None or self.owner != os.getpid()
            ):  # a process that was forked starts one of its own
                self._start()
            reply = self._ask(given)
        if "refused" in reply:
            raise Refused(reply["refused"])
        if "over" in reply:
            raise UserError(
                f"{self.source}: the chat template takes more than {reply['over']}; {HELP}"
            )
        if "broken" in reply:
            raise UserError(
                f"{self.source}: the chat template does not parse ({reply['broken']}); fetch the "
                f"tokenizer again"
            )
        return reply["text"]

    def try_out(self) -> None:
        """Render what may show that it goes over a bound. That it refuses a chat says nothing."""
        try:
            for chat in trial_chats():
                for ask in (False, True):
                    try:
                        self.render(
                            messages=chat, tools=None, documents=None, add_generation_prompt=ask
                        )
                    except Refused:
                        continue
        finally:
            self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        if self.process and self.owner == os.getpid():
            self.process.stdin.close()
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
        self.process = None

    def _start(self) -> None:
        if len(self.text) > MAX_TEXT:
            raise UserError(
                f"{self.source}: the chat template has {len(self.text):,} characters, over "
                f"{MAX_TEXT:,}; {HELP}"
            )
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-I", template_child.__file__], env=variables.listed(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="ascii",
        )  # fmt: skip
        self._send(self.text)

    def _send(self, data: Any) -> None:
        try:
            self.process.stdin.write(json.dumps(data) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it ended; what it said, or did not, is read next

    def _ask(self, given: Mapping[str, Any]) -> dict[str, str]:
        self._send(given)
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            status = self.process.wait()
            self.process = None
            return {
                "over": f"{template_child.SECONDS:g} s of a processor, or ended with status "
                f"{status}"
            }
        return json.loads(line)


def load_template(folder: Path) -> Any:
    """A folder's template, to call `render` of."""
    text = template_text(folder)
    if digest(text) not in KNOWN:
        return BoundedTemplate(text, str(folder))
    return template_child.compile_template(text)
