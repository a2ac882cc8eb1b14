"""What a judging costs: estimated before anything is asked, bounded while it runs."""

from collections.abc import Mapping
from typing import Any

from mindtune.evaluate.judge_prompts import Messages
from mindtune.evaluate.tokens import CHARACTER

# Tokens of chat template and framing around a message, more than any known template has
FRAME = 32
# A guess, for the estimate alone: one token a Chinese character, one for four others
OTHERS = 4
MILLION = 1_000_000


def guessed_tokens(messages: Messages) -> int:
    """About how many tokens a request has."""
    total = 0
    for message in messages:
        wide = len(CHARACTER.findall(message["content"]))
        total += wide + (len(message["content"]) - wide) // OTHERS + FRAME
    return total


def most_tokens(messages: Messages) -> int:
    """No tokenizer of bytes makes more tokens of a request."""
    return sum(len(message["content"].encode()) + FRAME for message in messages)


def price(judge: Mapping[str, Any], read: int, written: int) -> float:
    """The price of a request in the unit of the configured prices."""
    return (read * judge["input_price"] + written * judge["output_price"]) / MILLION


def most_price(judge: Mapping[str, Any], messages: Messages) -> float:
    """No request costs more: every byte a token, and the longest answer."""
    return price(judge, most_tokens(messages), judge["max_tokens"])


class Estimate:
    """Requests, tokens and money of a judging, added up before it starts."""

    def __init__(self, judge: Mapping[str, Any]) -> None:
        self.judge = judge
        self.requests = self.kept = self.read = self.written = 0

    def add(self, messages: Messages, kept: bool) -> None:
        """Take one request into account; one that is kept costs nothing again."""
        if kept:
            self.kept += 1
            return
        self.requests += 1
        self.read += guessed_tokens(messages)
        self.written += self.judge["max_tokens"] // 2

    @property
    def money(self) -> float:
        """The estimated price."""
        return price(self.judge, self.read, self.written)

    def sentence(self, name: str) -> str:
        """The estimate for a reader, before anything is spent."""
        return (
            f"judge {name}: {self.requests} requests to make ({self.kept} answers are there), "
            f"about {self.read} tokens to read and {self.written} to write, about "
            f"{self.money:.4f} at the configured prices"
        )
