"""A large corpus of dialogues for the data stage's benchmark, drawn from real ones by a seed.

Its sentences are real, its dialogues are not: every turn is put together from sentences of the
same speaker. A known share repeats an earlier first client turn. Labelled are near-duplicates
(`copy_of`), first client turns that are nearly an earlier one's (`first_turn_of`), and replies that
hold an earlier reply (`reply_of`).
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

SHARED_FIRST_TURN, PLANTED, NEAR_FIRST_TURN, COPIED_REPLY = 0.35, 0.05, 0.05, 0.02
TURNS = ((2, 0.35), (4, 0.5), (6, 0.15))  # 3.6 turns on average
SENTENCES = {"human": (1, 4), "gpt": (2, 6)}  # about 350 characters a dialogue
LONG_REPLY = 60  # characters of a reply that is planted in another, punctuation included
EDITS = (2, 6)  # characters that differ between a planted copy and its original
_SENTENCE = re.compile(r"[^。！？!?\n]{4,80}[。！？!?]")
_LETTERS = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动"
    "同工也能下过子说产种面而方后多定行学法所民得经"
)


@dataclass(frozen=True)
class Pool:
    """Real sentences by speaker."""

    sentences: dict[str, Sequence[str]]


def read_pool(files: Sequence[Path]) -> Pool:
    """The sentences of ShareGPT files, each once, in order."""
    found: dict[str, dict[str, None]] = {"human": {}, "gpt": {}}
    for file in files:
        for line in file.read_bytes().splitlines():
            for turn in orjson.loads(line)["conversations"]:
                if turn["from"] in found:
                    found[turn["from"]].update(dict.fromkeys(_SENTENCE.findall(turn["value"])))
    return Pool({role: list(sentences) for role, sentences in found.items()})


def _turn(draw: random.Random, pool: Pool, role: str) -> str:
    return "".join(draw.choices(pool.sentences[role], k=draw.randint(*SENTENCES[role])))


def _edited(draw: random.Random, turns: list[str]) -> list[str]:
    """A copy with a few other characters in it, never in the first client turn's place alone."""
    turns = list(turns)
    for _ in range(draw.randint(*EDITS)):
        index = draw.randrange(len(turns))
        place = draw.randrange(len(turns[index]))
        turns[index] = turns[index][:place] + draw.choice(_LETTERS) + turns[index][place + 1 :]
    return turns


def _nearly(draw: random.Random, turn: str) -> str:
    """A first turn as another client would write it: a beginning dropped, or a character
    changed.
    """
    place = draw.randrange(len(turn))
    changed = turn[:place] + draw.choice(_LETTERS) + turn[place + 1 :]
    return draw.choice([turn[1:], turn[2:], changed])


def _plant(
    draw: random.Random,
    recent: list[tuple[str, list[str]]],
    turns: list[str],
    labels: dict[str, str],
) -> None:
    """Give a new dialogue what an earlier one has, and say so where it should be found."""
    kind = draw.random() * (1 - PLANTED)
    if not recent or kind > SHARED_FIRST_TURN + NEAR_FIRST_TURN + COPIED_REPLY:
        return
    identity, original = draw.choice(recent)
    if kind < SHARED_FIRST_TURN:
        turns[0] = original[0]
    elif kind < SHARED_FIRST_TURN + NEAR_FIRST_TURN:
        labels["first_turn_of"], turns[0] = identity, _nearly(draw, original[0])
    elif len(original[1]) >= LONG_REPLY:
        labels["reply_of"], turns[1] = identity, turns[1] + original[1]


def rows(pool: Pool, count: int, seed: int) -> Iterator[dict[str, object]]:
    """`count` ShareGPT rows; what is planted has the id of its original, see above.

    Originals come from the last 100,000 rows, so that memory does not grow with the corpus.
    """
    draw = random.Random(seed)
    recent: list[tuple[str, list[str]]] = []
    for number in range(count):
        identity, labels = f"bench-{number}", {}
        if recent and draw.random() < PLANTED:
            labels["copy_of"], original = draw.choice(recent)
            turns = _edited(draw, original)
        else:
            length = draw.choices([turns for turns, _ in TURNS], [share for _, share in TURNS])[0]
            turns = [_turn(draw, pool, ("human", "gpt")[index % 2]) for index in range(length)]
            _plant(draw, recent, turns, labels)
            recent.append((identity, turns)) if len(recent) < 100_000 else recent.__setitem__(
                number % 100_000, (identity, turns)
            )
        row: dict[str, object] = {
            "id": identity,
            "conversations": [
                {"from": ("human", "gpt")[index % 2], "value": text}
                for index, text in enumerate(turns)
            ],
        }
        yield row | labels


def write(path: Path, pool: Pool, count: int, seed: int) -> None:
    """Write the corpus as ShareGPT lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for row in rows(pool, count, seed):
            stream.write(orjson.dumps(row) + b"\n")
