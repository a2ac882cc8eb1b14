"""Dialogues rendered with the model's own chat template and counted in its own tokens, without transformers.

The environment is that of transformers' `render_jinja_template` (trim_blocks, lstrip_blocks, loop controls, the
same filters), so the text is the text that the trainer and the server see. Reads tokenizer.json,
tokenizer_config.json and chat_template.jinja of a tokenizer folder.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.records import read_json

Message = dict[str, str]
CACHED_PIECES, CACHED_CHARS = 100_000, 500  # 100 MB at most
ROLES = {"system": "system", "human": "user", "gpt": "assistant"}


def to_messages(conversations: Sequence[dict[str, str]]) -> list[Message]:
    """ShareGPT turns as chat messages."""
    return [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in conversations]


@dataclass(frozen=True)
class ChatTokenizer:
    """A tokenizer with its chat template. `longest_token` is in bytes; `special` are the texts of its added tokens.

    `cutter` finds them where they cut a text without regard to what stands beside them (None: some do not).
    """

    tokenizer: Any
    template: Any
    variables: dict[str, str]
    longest_token: int
    special: tuple[str, ...]
    cutter: re.Pattern[str] | None
    counted: dict[str, int]

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The text of a chat.

        Qwen's template puts its default system prompt before a chat that has none, as in training.
        """
        from jinja2.exceptions import TemplateError

        try:
            return self._render(messages, add_generation_prompt)
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UserError(
                f"the chat template refuses a dialogue with the roles {roles} ({error}); use another model"
            ) from error

    def _render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        return self.template.render(
            messages=list(messages),
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **self.variables,
        )

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of rendered texts (special tokens are read as such, none are added)."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Numbers of tokens of rendered texts, each the length of what `encode` gives.

        A tokenizer cuts at its special tokens first, so a text is counted piece by piece, and a piece that comes
        again (a system prompt, a first turn that many dialogues share) is counted once.
        """
        if self.cutter is None:
            return list(map(len, self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)))
        pieces = [self.cutter.split(text) for text in texts]
        if len(self.counted) > CACHED_PIECES:
            self.counted.clear()
        new = list({piece: None for parts in pieces for piece in parts if piece not in self.counted})
        encodings = self.tokenizer.encode_batch_fast(new, add_special_tokens=False)
        known = dict(zip(new, map(len, encodings), strict=True))
        tokens = [
            len(parts) - 1 + sum(known[piece] if piece in known else self.counted[piece] for piece in parts)
            for parts in pieces
        ]
        self.counted.update((piece, count) for piece, count in known.items() if len(piece) <= CACHED_CHARS)
        return tokens


@lru_cache(maxsize=2)
def load_chat(folder: str | Path) -> ChatTokenizer:
    """Load a tokenizer folder once. A missing file or template is a UserError."""
    from tokenizers import Tokenizer

    folder = Path(folder)
    source = folder / "tokenizer.json"
    if not source.is_file():
        raise UserError(
            f"{source} is missing; fetch the tokenizer of the model first (fetch_model.py --part tokenizer)"
        )
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    variables = {
        key: _text(config[key]) for key in ("bos_token", "eos_token", "pad_token", "unk_token") if config.get(key)
    }
    added = tokenizer.get_added_tokens_decoder().values()
    cuts = bool(added) and not any(
        token.lstrip or token.rstrip or token.single_word or token.normalized for token in added
    )
    return ChatTokenizer(
        tokenizer,
        _compile(_template_text(folder, config)),
        variables,
        max(len(token.encode()) for token in tokenizer.get_vocab()),
        tuple(sorted(token.content for token in added)),
        re.compile("|".join(map(re.escape, sorted((token.content for token in added), reverse=True))))
        if cuts
        else None,
        {},
    )


def render_chat(folder: str | Path, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
    """Render messages with the chat template of a tokenizer folder."""
    return load_chat(folder).render(messages, add_generation_prompt)


def special_pattern(chat: ChatTokenizer) -> re.Pattern[str]:
    """Matches the text of any added token, such as <|im_end|>, which inside a turn would end it early."""
    return re.compile("|".join(map(re.escape, chat.special)) or r"(?!)")


def _text(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else token["content"]


def _template_text(folder: Path, config: dict[str, Any]) -> str:
    """chat_template.jinja wins over the config, as in transformers; of several named templates it is `default`."""
    file = folder / "chat_template.jinja"
    template = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    if not isinstance(template, str):
        raise UserError(
            f"{folder} has no chat template: expected chat_template.jinja or the key chat_template in tokenizer_config.json; "
            "use the tokenizer of an instruction-tuned model"
        )
    return template


def _compile(template: str) -> Any:
    from jinja2.exceptions import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return environment.from_string(template)
    except TemplateError as error:
        raise UserError(f"the chat template does not parse ({error}); fetch the tokenizer again") from error
