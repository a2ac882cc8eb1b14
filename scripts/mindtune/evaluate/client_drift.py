"""Did the client stay the client? What is counted in a simulated client's words, by rules.

Every kind is a share of the client's words after the opening; `disclosed` and `too_early` are
shares of conversations. A counsellor's figures are worth little where the client left its role.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mindtune.evaluate.clients import instructions
from mindtune.evaluate.intervals import MIN_CLUSTERS, binary_difference, share_interval
from mindtune.evaluate.personas import Persona
from mindtune.evaluate.tokens import is_chinese, ngrams, tokenize

# Words of somebody who helps, not of somebody who came for help
COUNSELLOR = re.compile(
    r"我建议(你|您)|(你|您)可以(试试|尝试)|作为(你|您)的咨询师|我(可以|能)(怎么|如何)帮(助)?(你|您)"
    r"|(很高兴|感谢)(你|您)(愿意)?(来|分享|信任)|i (would )?(suggest|recommend) (that )?you"
    r"|how can i help|as your (counsell?or|therapist)|thank you for sharing|have you tried",
    re.I,
)
MACHINE = re.compile(
    r"(作为|我是)(一个|一名)?(人工智能|AI|语言模型|大模型|助手)"
    r"|as an? (ai|language model|assistant)|i('m| am) (an ai|a language model|an assistant)",
    re.I,
)
# So many words in a row stand in the instructions by no chance; facts may be said as they stand
RECITED = {"zh": 14, "en": 9}
LONGEST = {"zh": 200, "en": 120}  # words; they were told one to three sentences
KINDS = {
    "counsellor": "speaks as the counsellor",
    "machine": "calls itself a machine",
    "recites": "repeats its instructions",
    "language": "speaks another language",
    "repeats": "says again what it said before",
    "echoes": "says what the counsellor said",
    "empty": "says nothing",
    "long": "makes a speech",
}
ONCE = {
    "disclosed": "says the hidden thing at all",
    "too_early": "says the hidden thing before its time",
}


def recited(persona: Persona, text: str) -> bool:
    """Whether a text repeats the instructions, other than by what the persona may say."""
    order = RECITED[persona.lang]
    own = " ".join([*persona.facts, persona.hidden, persona.opening])
    mine = set(ngrams(instructions(persona), order)) - set(ngrams(own, order))
    return any(part in mine for part in ngrams(text, order))


def drift_of(persona: Persona, turns: Sequence[Mapping[str, Any]], place: int) -> dict[str, bool]:
    """What is wrong with the client's words in turn `place`."""
    text = turns[place]["client"]
    before = turns[:place]
    size = len(tokenize(text))
    return {
        "counsellor": bool(COUNSELLOR.search(text)),
        "machine": bool(MACHINE.search(text)),
        "recites": recited(persona, text),
        "language": bool(text.strip()) and is_chinese(text) != (persona.lang == "zh"),
        "repeats": bool(text.strip()) and text in [turn["client"] for turn in before],
        "echoes": size > 3 and text.strip() in {turn["reply"].strip() for turn in before},
        "empty": not text.strip(),
        "long": size > LONGEST[persona.lang],
    }


def of_conversation(persona: Persona, turns: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """{kind: times} of one conversation, with `words`: how often the client spoke after its
    opening.
    """
    found = [drift_of(persona, turns, place) for place in range(1, len(turns))]
    counts: dict[str, float] = {kind: sum(one[kind] for one in found) for kind in KINDS}
    counts["words"] = len(found)
    counts["any"] = sum(any(one.values()) for one in found)
    said = [any(word in turn["client"] for word in persona.found_by) for turn in turns]
    counts["disclosed"] = any(said)
    counts["too_early"] = any(said[: persona.style.after])
    return counts


def shares(
    conversations: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    personas: Mapping[str, Persona],
) -> list[dict[str, Any]]:
    """One row a kind: the shares of base and tuned and their difference, with 95 % intervals over
    conversations. `conversations` is {model: {persona: turns}}, of the same personas.
    """
    names = sorted(conversations["base"])
    counts = {
        model: [of_conversation(personas[name], found[name]) for name in names]
        for model, found in conversations.items()
    }
    rows = []
    for kind in (*KINDS, "any", *ONCE):
        sums = {
            model: (
                np.array([float(one[kind]) for one in found]),
                np.array([1.0 if kind in ONCE else float(one["words"]) for one in found]),
            )
            for model, found in counts.items()
        }
        row: dict[str, Any] = {"kind": kind, "conversations": len(names)}
        for model, (times, n) in sums.items():
            row |= {model: float(times.sum() / max(n.sum(), 1)), f"{model}_n": int(n.sum())}
            if len(names) >= MIN_CLUSTERS and n.sum():
                row[f"{model}_low"], row[f"{model}_high"] = share_interval(times[n > 0], n[n > 0])
        row["difference"] = row["tuned"] - row["base"]
        if len(names) >= MIN_CLUSTERS:
            each = [times / np.maximum(n, 1) for times, n in (sums["tuned"], sums["base"])]
            found = binary_difference(each[0] - each[1], np.ones(len(names)))
            row["low"], row["high"] = found.interval()
        rows.append(row)
    return rows
