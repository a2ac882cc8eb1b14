"""How much of each data set of a mixture a run trains on, in trained tokens (those that carry the
loss), and which of its dialogues.

Without weights and temperature every set gives all that it has. Else the shares are met as far as
the scarcest set goes: nothing is repeated beyond `epochs`. A temperature T gives shares in
proportion to tokens^(1/T), after the limits of `max_tokens` (Raffel et al. 2020, section 3.5.2).
"""

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from mindtune.canaries import SOURCE as CANARIES
from mindtune.cli import UserError

Mix = Mapping[str, Any]


def set_of(source: str) -> str:
    """The data set of a source file's name: `a` of `a:zh.jsonl`."""
    return source.partition(":")[0]


def wanted_tokens(tokens: Mapping[str, int], mix: Mix) -> dict[str, Fraction]:
    """Trained tokens that each set is to give in an epoch, from the tokens that it has; fractions,
    so that the scarcest set gives the last of its dialogues.
    """
    most, epochs = mix.get("max_tokens", {}), mix.get("epochs", {})
    once = {name: min(count, most.get(name, count)) for name, count in tokens.items()}
    supply = {name: count * Fraction(epochs.get(name, 1)) for name, count in tokens.items()}
    supply = {name: min(count, most.get(name, count)) for name, count in supply.items()}
    weights = {name: Fraction(weight) for name, weight in mix.get("weights", {}).items()}
    if mix.get("temperature") is not None:
        weights = {name: Fraction(once[name] ** (1 / mix["temperature"])) for name in tokens}
    if not weights:
        return supply
    scale = min(supply[name] / weights[name] for name in tokens)
    return {name: weights[name] * scale for name in tokens}


def choose(table: Any, mix: Mix, seed: int) -> tuple[list[int], dict[str, dict[str, Any]]]:
    """(row numbers in the order of the table, some of them several times; facts by data set).

    `table` has the columns source, id and trained_tokens, a row a training dialogue. Which
    dialogues of a set are taken follows from a hash of seed and id, so that more of a set means the
    same ones and others. Canaries are taken as they are.
    """
    table = table.reset_index(drop=True)
    names = table.source.map(set_of)
    chosen: list[int] = table.index[names == CANARIES].tolist()
    sets = names[names != CANARIES]
    trained = {str(name): int(part.sum()) for name, part in table.trained_tokens.groupby(sets)}
    if empty := [name for name, count in trained.items() if not count]:
        raise UserError(
            f"data set {empty[0]} has no token to train on in this mixture; take it out of the run"
        )
    wanted = wanted_tokens(trained, mix)
    facts = {}
    for name, rows in table.groupby(sets):
        taken = _take(rows, wanted[name], trained[name], seed)
        if not taken:
            raise UserError(
                f"data set {name} would give less than one dialogue to this mixture; raise its "
                f"weight or its max_tokens, or take it out of the run"
            )
        chosen += taken
        facts[str(name)] = {
            "dialogues": len(rows),
            "taken": len(taken),
            "repeated": len(taken) - len(set(taken)),
            "tokens": int(table.tokens.iloc[taken].sum()),
            "trained_tokens": int(table.trained_tokens.iloc[taken].sum()),
            "wanted_share": round(float(wanted[name] / sum(wanted.values())), 6),
        }
    total = sum(fact["trained_tokens"] for fact in facts.values())
    for fact in facts.values():
        fact["trained_share"] = round(fact["trained_tokens"] / total, 6)
    return sorted(chosen), facts


def _take(rows: Any, wanted: Fraction, supply: int, seed: int) -> list[int]:
    """Row numbers with about as many trained tokens as wanted: whole copies of a set, and of the
    rest what fits, in the order of the draw.
    """
    whole, rest = divmod(wanted, supply)
    taken = rows.index.tolist() * whole
    drawn = sorted(
        zip(rows.id, rows.index, rows.trained_tokens, strict=True),
        key=lambda row: hashlib.sha256(f"{seed}\0{row[0]}".encode()).digest(),
    )
    for _, number, tokens in drawn:
        if tokens > rest:
            break
        taken.append(int(number))
        rest -= tokens
    return taken
