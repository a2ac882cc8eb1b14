"""How many tokens a dialogue has, exactly, and how one that is over long is cut between its
turns.
"""

from collections.abc import Sequence

from mindtune.chat_template import ChatTokenizer, to_messages

CHARS_LOOKED_AT = 8  # a token, of a text that is likely to be over long
Conversations = list[dict[str, str]]
Parts = list[tuple[Conversations, int]]


class Lengths:
    """Counts by the model's own template. `limit` in tokens is None where nothing is over long;
    `split` cuts what is, instead of leaving it out.
    """

    def __init__(self, chat: ChatTokenizer, limit: int | None, split: bool) -> None:
        self.chat, self.limit, self.split = chat, limit, split

    def parts(self, dialogues: Sequence[Conversations]) -> list[Parts]:
        """What each dialogue gives, with its tokens: itself, the parts into which it was cut, or
        nothing.
        """
        return [
            [(conversations, tokens)]
            if self.limit is None or tokens <= self.limit
            else self._cut(conversations)
            if self.split
            else []
            for conversations, tokens in zip(dialogues, self.count(dialogues), strict=True)
        ]

    def count(self, dialogues: Sequence[Conversations]) -> list[int]:
        """Tokens of each dialogue; of one that is over long, more than the limit."""
        texts = [self.chat.render(to_messages(conversations)) for conversations in dialogues]
        if self.limit is not None:
            # No token is longer than longest_token bytes, and NFC shortens a text at most
            # threefold: what is longer than this is over long, and need not be counted to its end.
            hopeless = (self.limit + 1) * self.chat.longest_token * 3
            texts = [self._long_enough(text[:hopeless], self.limit) for text in texts]
        return self.chat.count(texts)

    def _long_enough(self, text: str, limit: int) -> str:
        """The text, or a start of it that alone has too many tokens: a tokenizer cuts a text into
        words first, and only the last two words of a start may go on differently.
        """
        start = text[: (limit + 1) * CHARS_LOOKED_AT]
        if len(start) < len(text):
            words = self.chat.tokenizer.encode(start, add_special_tokens=False).word_ids
            sure, last = len(words), set()
            while sure and len(last | {words[sure - 1]}) <= 2:
                last.add(words[sure - 1])
                sure -= 1
            if sure > limit:
                return start
        return text

    def _cut(self, conversations: Conversations) -> Parts:
        """Parts of (client, counsellor) pairs that fit, each with the system prompt; none if a
        pair alone does not fit.

        Sizes of pairs are added up to choose the cuts, which a template may make inexact; the
        parts are then counted.
        """
        start = 1 if conversations[0]["from"] == "system" else 0
        system, pairs = conversations[:start], [
            conversations[index : index + 2] for index in range(start, len(conversations), 2)
        ]  # fmt: skip
        sizes = self.count([system + pair for pair in pairs])
        if max(sizes) > self.limit or len(pairs) == 1:
            return []
        once = max(
            0, sum(sizes[:2]) - self.count([system + pairs[0] + pairs[1]])[0]
        )  # what every part has: the prompt
        parts, size = [list(system)], once
        for pair, tokens in zip(pairs, sizes, strict=True):
            if size + tokens - once > self.limit:
                parts.append(list(system))
                size = once
            parts[-1] += pair
            size += tokens - once
        counts = self.count(parts)
        return list(zip(parts, counts, strict=True)) if max(counts) <= self.limit else []
