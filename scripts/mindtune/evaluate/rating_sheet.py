"""A blind sheet: pairs of replies, base and tuned, in an order that tells nothing, and what is
asked of each. The key that says which is which is kept apart from what raters get.

Everything follows from the replies, the questions and the seed: equal ones give equal bytes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.rubrics import Rubric
from mindtune.evaluate.tokens import is_chinese
from mindtune.records import to_json

MODELS = ("base", "tuned")
SIDES = ("A", "B")
# Who speaks in a prompt, by its language; what a model was told beforehand is not shown
SPEAKERS = {
    "zh": {"user": "来访者", "assistant": "咨询师"},
    "en": {"user": "Client", "assistant": "Counsellor"},
}
MOST_CHARACTERS = 32_000  # a cell of Excel holds 32,767 and is cut there in silence

Rows = Mapping[str, Mapping[str, Any]]


def asked_of(rubrics: Sequence[Rubric], suite: str, row: Mapping[str, Any], reply: str) -> list:
    """The names RUBRIC.BEHAVIOUR of what is asked of a reply."""
    return [
        f"{rubric.name}.{name}"
        for rubric in rubrics
        if suite in rubric.suites
        for name in rubric.applying(row, reply)
    ]


def order_key(seed: int, *parts: str) -> str:
    """A place in a shuffled order, the same on every machine and under every Python."""
    return hashlib.sha256(to_json([seed, *parts]).encode()).hexdigest()


def shown_prompt(prompt: Sequence[Mapping[str, str]], lang: str) -> str:
    """A prompt as a rater reads it, one paragraph a turn."""
    names = SPEAKERS[lang]
    return "\n\n".join(
        f"{names[turn['role']]}: {turn['content']}" for turn in prompt if turn["role"] in names
    )


def language(row: Mapping[str, Any]) -> str:
    """The language of a row's prompt: as it says, else that of the client's last words."""
    return row.get("lang") or ("zh" if is_chinese(row["prompt"][-1]["content"]) else "en")


def pairs_of(
    suite: str, base: Rows, tuned: Rows, rubrics: Sequence[Rubric]
) -> list[dict[str, Any]]:
    """What both models answered, one entry an item, texts as raters see them; without those of
    which nothing is asked.
    """
    found = []
    for key in sorted(base.keys() & tuned.keys()):
        row, other = base[key], tuned[key]
        if row["prompt"] != other["prompt"]:
            raise UserError(
                f"suite {suite}: base and tuned answered other prompts under the id {key}; "
                f"generate the replies again"
            )
        lang = language(row)
        prompt = shown_prompt(row["prompt"], lang)
        texts = {"base": row["reply"], "tuned": other["reply"]}
        asked = {model: asked_of(rubrics, suite, row, texts[model]) for model in MODELS}
        if max(map(len, (prompt, *texts.values()))) <= MOST_CHARACTERS and any(asked.values()):
            cluster = str(row.get("cluster", row.get("dialogue", key)))
            about = {"suite": suite, "id": key, "cluster": cluster, "lang": lang, "prompt": prompt}
            found.append(about | {"replies": texts, "asked": asked})
    return found


def drawn(pairs: Sequence[Mapping[str, Any]], wanted: int, seed: int) -> list[Mapping[str, Any]]:
    """`wanted` of the pairs in shuffled order; a second pair of a dialogue comes only when every
    dialogue gave one, so that intervals stand on as many dialogues as there are.
    """
    shuffled = sorted(pairs, key=lambda pair: order_key(seed, pair["suite"], pair["id"]))
    taken: dict[tuple[str, str], int] = {}
    ranked = []
    for place, pair in enumerate(shuffled):
        cluster = pair["suite"], pair["cluster"]
        taken[cluster] = taken.get(cluster, 0) + 1
        ranked.append((taken[cluster], place, pair))
    chosen = [pair for *_, pair in sorted(ranked, key=lambda entry: entry[:2])[:wanted]]
    return sorted(chosen, key=lambda pair: order_key(seed, "shown", pair["suite"], pair["id"]))


def blinded(pairs: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Two rows a pair, A and B; in half of the pairs, drawn by the seed, A is base."""
    by_side = sorted(
        range(len(pairs)),
        key=lambda place: order_key(seed, "side", pairs[place]["suite"], pairs[place]["id"]),
    )
    base_first = set(by_side[: len(pairs) // 2])
    rows = []
    for place, pair in enumerate(pairs):
        models = MODELS if place in base_first else MODELS[::-1]
        for side, model in zip(SIDES, models, strict=True):
            kept = {key: pair[key] for key in ("suite", "id", "cluster", "lang", "prompt")}
            of_model = {"reply": pair["replies"][model], "asked": pair["asked"][model]}
            rows.append({"row": f"P{place + 1:03d}{side}", "model": model} | kept | of_model)
    return rows


def make_key(
    rows: Sequence[Mapping[str, Any]], rubrics: Sequence[Rubric], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The key: `seen` is what raters get, `hidden` what each row of it must not say; `about` says
    run, seed, number of raters and the replies' files with their hashes. `sheet` names what is
    seen, by its hash.
    """
    questions = {
        f"{rubric.name}.{name}": behaviour
        for rubric in rubrics
        for name, behaviour in rubric.behaviours.items()
    }
    asked = {name for row in rows for name in row["asked"]}
    seen = {
        "questions": [
            {"name": name, "most": question.most} | dict(question.question)
            for name, question in questions.items()
            if name in asked
        ],
        "rows": [
            {name: row[name] for name in ("row", "lang", "prompt", "reply", "asked")}
            for row in rows
        ],
    }
    hidden = [
        {name: row[name] for name in ("row", "model", "suite", "id", "cluster")} for row in rows
    ]
    digest = hashlib.sha256(to_json(seen).encode()).hexdigest()
    return {
        "sheet": f"S-{digest[:12]}",
        "raters": [f"r{number + 1}" for number in range(about["raters"])],
        **{name: about[name] for name in ("run", "seed", "replies")},
        "good": {name: questions[name].good for name in sorted(asked)},
        "seen": seen,
        "hidden": hidden,
    }
