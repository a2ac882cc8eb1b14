"""The replay, a check of the letters' likelihoods: the model's served replies are known, so its
own scores must choose the very tokens that were served. If they do not, the way to the scores is
broken, and the suite stops instead of printing chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mindtune.cli import UserError

# Two programs round differently, and where two tokens are nearly equal either may be chosen
SHARE = 0.9
FEWEST_REPLIES = 3


def followed(reply: str, said: Sequence[str]) -> Iterator[bool]:
    """Follow the likeliest tokens along a served reply: of each whether it is the reply's. The
    first that is not ends it, since what follows then answers another text.

    `said` is the text after each token, as measure_letters.py writes it.
    """
    for text in said or [""]:
        same = reply.startswith(text.rstrip("\ufffd"))  # the half of a character
        yield same and bool(said)
        if not same or text == reply:
            return


def check_replay(
    model: str, letters: Mapping[str, Mapping[str, Any]], replies: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """How often the scores choose the token that the served model replied with, {"replies",
    "places", "same"}; a UserError if that is too rare for the two to be the same model.

    `letters` and `replies` are rows by id; `model` is base or tuned.
    """
    spoken = [
        (replies[key]["reply"], row["said"])
        for key, row in letters.items()
        if "said" in row and key in replies and replies[key]["reply"].strip()
    ]
    found = [same for reply, said in spoken for same in followed(reply, said)]
    if len(spoken) < FEWEST_REPLIES:
        raise UserError(
            f"the replay has {len(spoken)} replies of {model} with text, and needs "
            f"{FEWEST_REPLIES} to show that letters are measured rightly; ask more questions, or "
            "set likelihood: false in the suite's file"
        )
    if sum(found) < SHARE * len(found):
        raise UserError(
            f"log-likelihood path broken: at {len(found)} places of {len(spoken)} replies the "
            f"scores of {model} choose the token that it was served with {sum(found)} times, "
            f"expected at least {SHARE:.0%}; do not trust letters measured this way: check that "
            "the served model, its chat template and its engine are those of this folder"
        )
    return {"replies": len(spoken), "places": len(found), "same": sum(found)}
