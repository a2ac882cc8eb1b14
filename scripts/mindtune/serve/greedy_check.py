"""Are a server's greedy replies those of plain transformers, all along?

Where transformers' two best logits are nearly equal, rounding decides, and a reply may go another
way; from there its words say nothing about the weights any more. So the server is asked to go on
from transformers' own words after every such place, and each prompt is followed to its end.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.serve import greedy_reference
from mindtune.serve.checks import Case, expect, user
from mindtune.serve.client import Reply

# Positions of each prompt that are compared at least, if the reply does not end before
LEAST_POSITIONS = 64
# Decisive positions of all prompts together, where one could not be followed to its end
LEAST_DECISIVE = 32
# Of the compared positions: more partings than this share, and than two, are no rounding. Random
# weights of the 7B shape parted at 0.17 of them after a right merge, other weights part at nearly
# all
MOST_PARTINGS = 0.25


@dataclass
class Followed:
    """How a server followed one reply of transformers: positions compared, those at which rounding
    could not have decided, the margins of those at which it left, and whether that was the end of
    it before half of it was compared: text that gives other tokens when it is read again cannot be
    gone on from.
    """

    compared: int = 0
    decisive: int = 0
    margins: list[float] = field(default_factory=list)
    lost: bool = False

    def wrong(self, near_tie: float) -> bool:
        """Whether it left where it should not, or too often."""
        often = len(self.margins) > max(2, MOST_PARTINGS * self.compared)
        return often or any(not margin <= near_tie for margin in self.margins)

    def __str__(self) -> str:
        left = f", left at choices {', '.join(f'{margin:.3g}' for margin in self.margins)} apart"
        return f"{self.compared} positions ({self.decisive} decisive){left if self.margins else ''}"


def check_greedy(case: Case) -> str:
    """Replies are those of plain transformers, but for near-ties within the proof's bound; after
    each the server goes on from transformers' words.
    """
    rows = []
    for prompt, wanted in zip(case.prompts, case.reference, strict=True):

        def go_on(words: str, tokens: int, prompt: str = prompt) -> Reply:
            begun = [{"role": "assistant", "content": words}] if words else []
            return case.client.chat([*user(prompt), *begun], tokens)

        rows.append(follow(wanted, go_on, case.near_tie))
    return expect(
        agree(rows, case.near_tie),
        f"equal to transformers at {'; '.join(map(str, rows))} deviations (bound of the proof: "
        f"{case.near_tie})",
    )


def agree(rows: Sequence[Followed], near_tie: float) -> bool:
    """Whether no reply is wrong, and enough could be compared. A text that gives other tokens when
    it is read again says nothing against the weights: the others have to say enough for them.
    """
    enough = sum(row.decisive for row in rows) >= LEAST_DECISIVE
    whole = not any(row.lost for row in rows)
    return (whole or enough) and not any(row.wrong(near_tie) for row in rows)


def follow(wanted: dict[str, Any], go_on: Callable[[str, int], Reply], near_tie: float) -> Followed:
    """Compare a reference with what a server says, who goes on from its words after each
    near-tie.
    """
    found, start, total = Followed(), 0, len(wanted["margins"])
    while start is not None:
        place = parting(wanted, go_on(wanted["texts"][start], total - start), start)
        end = total if place is None else place + 1
        found.compared += end - start
        found.decisive += sum(margin > near_tie for margin in wanted["margins"][start:end])
        if place is None:
            break
        found.margins.append(wanted["margins"][place])
        if found.wrong(near_tie):
            break
        start = next((k for k in wanted["resumes"] if place < k < total), None)
        found.lost = start is None and 2 * found.compared < total
    return found


def parting(wanted: dict[str, Any], reply: Reply, start: int = 0) -> int | None:
    """The number of the first token at which a reply that went on from token `start` leaves the
    reference; None if it is the reference.

    A text that ends in half a character (U+FFFD) is compared without it.
    """
    begun = len(wanted["texts"][start])
    for place, text in enumerate(wanted["texts"][start:], start):
        if not reply.text.startswith(text.rstrip("\ufffd")[begun:]):
            return place - 1
    ending = (wanted["texts"][-1][begun:], wanted["finish_reason"])
    if (reply.text, reply.finish_reason) == ending:
        return None
    return len(wanted["margins"]) - 1


def transformers_replies(
    export: Path, engine: dict[str, Any], prompts: list[str], tokens: int
) -> list[dict[str, Any]]:
    """What plain transformers, in the environment that serves, replies to the prompts, of at
    most `tokens` tokens (see greedy_reference.py).
    """
    command = [
        engine["python"],
        "-P",
        greedy_reference.__file__,
        "--model",
        str(export),
        "--device",
        engine["device"],
    ]
    command += [
        "--max-tokens",
        str(tokens),
        "--threads",
        str(engine["threads"]),
    ]
    chats = json.dumps([user(prompt) for prompt in prompts])
    done = subprocess.run(command, input=chats, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(
            f"{export}: transformers gave no replies to compare the server's with; its message is "
            f"above"
        )
    return json.loads(done.stdout)
