"""Dialogues rendered with the model's own chat template and counted in its own tokens, without
transformers.

The text is the text that the trainer and the server see. Reads tokenizer.json,
tokenizer_config.json and chat_template.jinja of a tokenizer folder, with the care that somebody
else's files need.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mindtune.chat_templates import Refused, load_template
from mindtune.cli import UserError
from mindtune.model_files import check_json

Message = dict[str, str]
CACHED_PIECES, CACHED_CHARS = 100_000, 500  # 100 MB at most
ROLES = {"system": "system", "human": "user", "gpt": "assistant"}


def to_messages(conversations: Sequence[dict[str, str]]) -> list[Message]:
    """ShareGPT turns as chat messages."""
    return [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in conversations]


def system_of_most(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The system turn of most dialogues; None if most have none, which the chat template then
    fills as it does in the training.
    """
    turns: Counter[str | None] = Counter()
    for row in rows:
        first = row["conversations"][0]
        turns[first["value"] if first["from"] == "system" else None] += 1
    return max(turns, key=lambda text: (turns[text], text or "")) if turns else None


@dataclass(frozen=True)
class ChatTemplate:
    """A folder's chat template with the special tokens that it may name."""

    template: Any
    variables: dict[str, str]

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The text of a chat.

        Qwen's template puts its default system prompt before a chat that has none, as in training.
        """
        from jinja2.exceptions import TemplateError

        try:
            return self.template.render(
                messages=list(messages),
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.variables,
            )
        except (TemplateError, Refused) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise UserError(
                f"the chat template refuses a dialogue with the roles {roles} ({error}); use "
                f"another model"
            ) from error


@dataclass(frozen=True)
class ChatTokenizer:
    """A tokenizer with its chat template. `longest_token` is in bytes; `special` are the texts of
    its added tokens.

    `cutter` finds them where they cut a text without regard to what stands beside them (None: some
    do not).
    """

    tokenizer: Any
    template: ChatTemplate
    longest_token: int
    special: tuple[str, ...]
    cutter: re.Pattern[str] | None
    counted: dict[str, int]

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
        """The text of a chat."""
        return self.template.render(messages, add_generation_prompt)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of rendered texts (special tokens are read as such, none are added)."""
        return [
            encoding.ids
            for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Numbers of tokens of rendered texts, each the length of what `encode` gives.

        A tokenizer cuts at its special tokens first, so a text is counted piece by piece, and a
        piece that comes again (a system prompt, a first turn that many dialogues share) is counted
        once.
        """
        if self.cutter is None:
            return list(
                map(len, self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False))
            )
        pieces = [self.cutter.split(text) for text in texts]
        if len(self.counted) > CACHED_PIECES:
            self.counted.clear()
        new = list(
            {piece: None for parts in pieces for piece in parts if piece not in self.counted}
        )
        encodings = self.tokenizer.encode_batch_fast(new, add_special_tokens=False)
        known = dict(zip(new, map(len, encodings), strict=True))
        tokens = [
            len(parts)
            - 1
            + sum(known[piece] if piece in known else self.counted[piece] for piece in parts)
            for parts in pieces
        ]
        self.counted.update(
            (piece, count) for piece, count in known.items() if len(piece) <= CACHED_CHARS
        )
        return tokens


def load_chat_template(folder: str | Path) -> ChatTemplate:
    """The chat template of a folder, without its tokenizer. A missing one is a UserError."""
    from jinja2.exceptions import TemplateError

    folder = Path(folder)
    config = (
        check_json(folder / "tokenizer_config.json")
        if (folder / "tokenizer_config.json").is_file()
        else {}
    )
    tokens = {
        key: _text(config.get(key)) for key in ("bos_token", "eos_token", "pad_token", "unk_token")
    }
    try:
        template = load_template(folder)
    except TemplateError as error:
        raise UserError(
            f"the chat template does not parse ({error}); fetch the tokenizer again"
        ) from error
    return ChatTemplate(template, {key: token for key, token in tokens.items() if token})


@lru_cache(maxsize=2)
def load_chat(folder: str | Path) -> ChatTokenizer:
    """Load a tokenizer folder once. A missing file or template is a UserError."""
    from tokenizers import Tokenizer

    folder = Path(folder)
    source = folder / "tokenizer.json"
    if not source.is_file():
        raise UserError(
            f"{source} is missing; fetch the tokenizer of the model first (fetch_model.py --part "
            f"tokenizer)"
        )
    try:
        tokenizer = Tokenizer.from_file(str(source))
    except Exception as error:  # the library raises nothing more special
        raise UserError(
            f"{source} is no tokenizer ({str(error)[:200]}); fetch the tokenizer again"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    added = tokenizer.get_added_tokens_decoder().values()
    cuts = bool(added) and not any(
        token.lstrip or token.rstrip or token.single_word or token.normalized for token in added
    )
    return ChatTokenizer(
        tokenizer,
        load_chat_template(folder),
        max(len(token.encode()) for token in tokenizer.get_vocab()),
        tuple(sorted(token.content for token in added)),
        re.compile(
            "|".join(map(re.escape, sorted((token.content for token in added), reverse=True)))
        )
        if cuts
        else None,
        {},
    )


def special_pattern(chat: ChatTokenizer) -> re.Pattern[str]:
    """Matches the text of any added token, such as <|im_end|>, which inside a turn would end it
    early.
    """
    return re.compile("|".join(map(re.escape, chat.special)) or r"(?!)")


def _text(token: Any) -> str:
    """A special token as text, which a tokenizer's settings give as text or as an object."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else ""
