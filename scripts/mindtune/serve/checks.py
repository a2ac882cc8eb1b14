"""What an export that is served has to do, request by request, through the client that everybody
uses.

Every check is a function that returns what it saw, or raises Failed with what it saw.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from mindtune.chat_template import ChatTokenizer, Message
from mindtune.serve.client import Client, Reply
from mindtune.serve.engine import Server

SYSTEM = "你是一位温和的心理咨询师，请用简短的话回答。"
FOLLOW_UP = "谢谢。那我今天可以先做哪一件小事？"
HANG_UPS = 3


class Failed(Exception):
    """A check that did not hold; the message is what was seen."""


@dataclass(frozen=True)
class Case:
    """What the checks work on: a server, its model's tokenizer, and the settings."""

    server: Server
    client: Client
    chat: ChatTokenizer
    prompts: list[str]
    max_tokens: int
    concurrency: int
    session_len: int
    # chats whose prompt tokens training counted, and transformers' own replies to the prompts
    proven: list[tuple[list[Message], int]]
    reference: list[dict[str, Any]]
    near_tie: float

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt, as training counts them."""
        return self.chat.count([self.chat.render(messages, add_generation_prompt=True)])[0]


def user(text: str) -> list[Message]:
    """A chat of one client turn."""
    return [{"role": "user", "content": text}]


def expect(holds: bool, seen: str) -> str:
    """Return what was seen if it is right."""
    if not holds:
        raise Failed(seen)
    return seen


def short(reply: Reply) -> str:
    """The start of a reply's text, and how it ended."""
    text = reply.text if len(reply.text) <= 60 else reply.text[:60] + "..."
    return f"{text!r} ({reply.finish_reason} after {reply.completion_tokens} tokens)"


def check_model_list(case: Case) -> str:
    """The model list holds the served name."""
    models = case.client.models()
    return expect(case.server.model_name in models, f"models {models}")


def check_single_reply(case: Case) -> str:
    """Each prompt gets a reply with text in it and a proper end."""
    replies = [case.client.chat(user(prompt), case.max_tokens) for prompt in case.prompts]
    good = all(
        reply.text.strip() and reply.finish_reason in ("stop", "length") for reply in replies
    )
    return expect(good, "; ".join(map(short, replies)))


def check_prompt_tokens(case: Case) -> str:
    """The server renders prompts as training did: as many tokens for our prompts, and for the
    chats of verify.json.
    """
    chats = [(user(prompt), case.count(user(prompt))) for prompt in case.prompts]
    chats += [(chat, tokens) for chat, tokens in case.proven]
    served = [case.client.chat(chat, 1).prompt_tokens for chat, _ in chats]
    trained = [tokens for _, tokens in chats]
    return expect(served == trained, f"server {served}, training {trained}")


def check_streaming(case: Case) -> str:
    """A streamed reply is the whole reply, piece by piece."""
    whole = case.client.chat(user(case.prompts[0]), case.max_tokens)
    streamed = case.client.stream(user(case.prompts[0]), case.max_tokens)
    if streamed.reply != whole:
        raise Failed(f"streamed {streamed.reply} is not {whole}")
    return f"{len(streamed.pieces)} pieces, together {short(whole)}"


def check_two_turns(case: Case) -> str:
    """The second turn's prompt holds the first turns: all of their tokens are counted."""
    first = user(case.prompts[0])
    reply = case.client.chat(first, case.max_tokens)
    history = [*first, {"role": "assistant", "content": reply.text}, *user(FOLLOW_UP)]
    second, alone = case.client.chat(history, case.max_tokens), case.client.chat(user(FOLLOW_UP), 1)
    seen = (
        f"{second.prompt_tokens} prompt tokens with the first turns, {alone.prompt_tokens} without"
    )
    return expect(
        bool(second.text.strip())
        and second.prompt_tokens == case.count(history) > alone.prompt_tokens,
        seen,
    )


def check_stop_token(case: Case) -> str:
    """A reply ends at the end token or at the limit, and no special token's text leaks into it."""
    replies = [case.client.chat(user(prompt), case.max_tokens) for prompt in case.prompts]
    ends = [
        f"{reply.finish_reason} after {reply.completion_tokens} of {case.max_tokens} tokens"
        for reply in replies
    ]
    leaks = sorted(
        {
            token
            for token in case.chat.special
            for reply in replies
            if token.startswith("<|") and token in reply.text
        }
    )
    cut_short = [
        reply
        for reply in replies
        if reply.finish_reason == "length" and reply.completion_tokens < case.max_tokens
    ]
    return expect(
        not leaks and not cut_short,
        "; ".join(ends) + f"; special tokens in the text: {leaks or 'none'}",
    )


def check_system_prompt(case: Case) -> str:
    """A system turn takes its place in the prompt."""
    chat = [{"role": "system", "content": SYSTEM}, *user(case.prompts[0])]
    got = case.client.chat(chat, 1).prompt_tokens
    longer = case.client.chat(
        [{"role": "system", "content": SYSTEM * 2}, *user(case.prompts[0])], 1
    ).prompt_tokens
    seen = (
        f"{got} prompt tokens with a system turn (template: {case.count(chat)}), {longer} with "
        f"it twice as long"
    )
    return expect(got == case.count(chat) < longer, seen)


def check_max_tokens(case: Case) -> str:
    """max_tokens is an upper bound."""
    replies = [case.client.chat(user(case.prompts[0]), limit) for limit in (1, 3)]
    seen = [f"{reply.completion_tokens} tokens ({reply.finish_reason})" for reply in replies]
    good = all(
        reply.completion_tokens <= limit for reply, limit in zip(replies, (1, 3), strict=True)
    )
    return expect(good, "limits 1 and 3: " + ", ".join(seen))


def check_too_long_input(case: Case) -> str:
    """A prompt over the session length is refused with a 4xx, and the server answers the next
    one.
    """
    from openai import APIStatusError

    text = case.prompts[0]
    while (tokens := case.count(user(text))) <= case.session_len:
        text *= 2
    try:
        reply = case.client.chat(user(text), 1)
        raise Failed(f"answered a prompt of {tokens} tokens with {short(reply)}")
    except APIStatusError as error:
        status = error.status_code
    after = case.client.chat(user(case.prompts[0]), case.max_tokens)
    seen = f"status {status} for {tokens} tokens, then {short(after)}"
    return expect(400 <= status < 500 and bool(after.text.strip()), seen)


def check_hang_up(case: Case) -> str:
    """Clients that hang up in the middle of a reply leave the server able to give the next one."""
    for _ in range(HANG_UPS):
        chunks = case.client.chunks(user(case.prompts[-1]), case.session_len // 2)
        next(chunks)
        chunks.close()
    after = case.client.chat(user(case.prompts[0]), case.max_tokens)
    return expect(bool(after.text.strip()), f"{HANG_UPS} clients hung up, then {short(after)}")


def check_concurrent(case: Case) -> str:
    """As many requests at once as the settings say are all answered."""
    replies = at_once(case, lambda prompt: case.client.chat(user(prompt), case.max_tokens))
    answered = sum(bool(reply.text.strip()) for reply in replies)
    return expect(
        answered == case.concurrency, f"{answered} of {case.concurrency} requests answered at once"
    )


def at_once(case: Case, ask: Callable[[str], Any]) -> list[Any]:
    """Answers to `concurrency` requests made at the same time, the prompts in turn."""
    prompts = [case.prompts[number % len(case.prompts)] for number in range(case.concurrency)]
    with ThreadPoolExecutor(case.concurrency) as pool:
        return list(pool.map(ask, prompts))
