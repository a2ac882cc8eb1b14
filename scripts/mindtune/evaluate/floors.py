"""Floors: replies with no counselling in them, or with another client's. A score means something
only above them.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mindtune.evaluate.tokens import is_chinese, tokenize

# Another dialogue's reply is drawn so often that there are about this many draws in all (n = 296:
# 20 times), and never more than MOST_DRAWS times for a reply.
ENOUGH_DRAWS = 6000
MOST_DRAWS = 20
# Client turns among which the nearest one is looked for: the search is linear in the replies.
MOST_CANDIDATES = 2000
BLOCK = 256

Row = Mapping[str, Any]


def client_turn(row: Row) -> str:
    """What the client said last before a reply."""
    return [message["content"] for message in row["prompt"] if message["role"] == "user"][-1]


def draws(replies: int) -> int:
    """How often another dialogue's reply is drawn for each of so many replies."""
    return max(1, min(MOST_DRAWS, round(ENOUGH_DRAWS / replies)))


def random_references(references: Sequence[str], dialogues: Sequence[str], seed: int) -> list[str]:
    """For every reply, a reference drawn from another dialogue, in the same language if another
    dialogue has one.

    There must be at least two dialogues.
    """
    rng = random.Random(seed)
    chinese = [is_chinese(reference) for reference in references]
    everything = range(len(references))
    pools = {
        language: [i for i in everything if chinese[i] is language] for language in (True, False)
    }
    several = {language: len({dialogues[i] for i in pool}) > 1 for language, pool in pools.items()}
    drawn = []
    for position in everything:
        language = chinese[position]
        pool: Sequence[int] = pools[language] if several[language] else everything
        choice = rng.choice(pool)
        while dialogues[choice] == dialogues[position]:
            choice = rng.choice(pool)
        drawn.append(references[choice])
    return drawn


def neighbours(references: Sequence[str], dialogues: Sequence[str]) -> list[str | None]:
    """The next counsellor turn of the same dialogue, for the last one the turn before; None for a
    dialogue with one turn.
    """
    places: dict[str, list[int]] = {}
    for place, dialogue in enumerate(dialogues):
        places.setdefault(dialogue, []).append(place)
    found: list[str | None] = [None] * len(references)
    for turns in places.values():
        if len(turns) > 1:
            for place, other in zip(turns, [*turns[1:], turns[-2]], strict=True):
                found[place] = references[other]
    return found


def bigram_vectors(texts: Sequence[str]) -> Any:
    """Unit vectors of the texts' token bigrams, a sparse matrix of shape (texts, bigrams)."""
    from scipy.sparse import csr_array

    numbers: dict[tuple[str, ...], int] = {}
    values, columns, starts = [], [], [0]
    for text in texts:
        words = tokenize(text)
        counts = Counter(zip(words, words[1:], strict=False)) or Counter([words[:1]])
        length = sum(count * count for count in counts.values()) ** 0.5
        for bigram, count in counts.items():
            columns.append(numbers.setdefault(bigram, len(numbers)))
            values.append(count / length)
        starts.append(len(columns))
    return csr_array((values, columns, starts), shape=(len(texts), len(numbers)))


def nearest_references(
    clients: Sequence[str], references: Sequence[str], dialogues: Sequence[str], seed: int
) -> list[str]:
    """For every reply, the reference to the most similar client turn of another dialogue, by the
    cosine of token bigrams, in the same language if another dialogue has one; the first of equals.
    There must be at least two dialogues.
    """
    places = list(range(len(clients)))
    if len(places) > MOST_CANDIDATES:
        places = sorted(random.Random(seed).sample(places, MOST_CANDIDATES))
    vectors = bigram_vectors(clients)
    candidates = vectors[places].T
    homes = np.unique(np.array(dialogues), return_inverse=True)[1]
    chinese = np.array([is_chinese(reference) for reference in references])
    found: list[str] = []
    for start in range(0, len(clients), BLOCK):
        block = slice(start, start + BLOCK)
        similarity = (vectors[block] @ candidates).toarray()
        # Another language is worse than no word in common, one's own dialogue worse than that.
        similarity -= 2 * (chinese[block, None] != chinese[places][None])
        similarity[homes[block, None] == homes[places][None]] = -3
        found += [references[places[best]] for best in similarity.argmax(axis=1)]
    return found


def floors(
    rows: Sequence[Row], fixed_line: Mapping[str, str], seed: int
) -> dict[str, list[list[str | None]]]:
    """{floor: its replies, once for every draw}; None where a floor has no reply.

    `rows` are reply rows of the base ("dialogue", "prompt", "reference", "reply"); `fixed_line` has
    the sentence in "zh" and in "en". base_cut is no floor but the fairer base: a shorter reply
    alone may gain overlap.
    """
    references = [row["reference"] for row in rows]
    dialogues = [row["dialogue"] for row in rows]
    clients = [client_turn(row) for row in rows]
    fixed = [fixed_line["zh" if is_chinese(text) else "en"] for text in references]
    return {
        "floor:random": [
            list(random_references(references, dialogues, seed + draw))
            for draw in range(draws(len(rows)))
        ],
        "floor:same_dialogue": [neighbours(references, dialogues)],
        "floor:nearest": [list(nearest_references(clients, references, dialogues, seed))],
        "floor:echo": [list(clients)],
        "floor:fixed": [list(fixed)],
        "floor:base_cut": [
            [row["reply"][: len(row["reference"])] for row in rows],
        ],
    }
