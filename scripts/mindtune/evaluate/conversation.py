"""A conversation of a client with a counsellor, turn by turn.

What the counsellor is asked is made from what was said aloud, by `counsellor_messages`, and from
nothing else: this module knows no persona and imports none. The client is a function that keeps
its persona to itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Messages = list[dict[str, str]]


class Turn(NamedTuple):
    """What the client said, and what the counsellor replied; `about` is the reply's finish_reason
    and its tokens.
    """

    client: str
    reply: str
    about: Mapping[str, Any]


# What a client says next, given what was said so far
Client = Callable[[Sequence[Turn]], str]
# What a counsellor replies to messages: text, finish_reason, tokens; None if they are too long
Counsellor = Callable[[Messages], Mapping[str, Any] | None]


def counsellor_messages(said: Sequence[Turn], client: str, system: str | None) -> Messages:
    """The messages that a counsellor gets: the system prompt, all turns, and the client's last
    words.
    """
    messages = [] if system is None else [{"role": "system", "content": system}]
    for turn in said:
        messages.append({"role": "user", "content": turn.client})
        messages.append({"role": "assistant", "content": turn.reply})
    return [*messages, {"role": "user", "content": client}]


def converse(
    client: Client, counsellor: Counsellor, system: str | None, turns: int
) -> tuple[list[Turn], str]:
    """The turns of a conversation, and why it ended: `turns` or `session_len`."""
    said: list[Turn] = []
    while len(said) < turns:
        words = client(said)
        reply = counsellor(counsellor_messages(said, words, system))
        if reply is None:
            return said, "session_len"
        about = {name: value for name, value in reply.items() if name != "text"}
        said.append(Turn(words, reply["text"], about))
    return said, "turns"
