"""Multiple choice: the letter that a reply names, and the letter that the model finds likeliest.

A reply that names no offered letter is wrong for `accuracy` (of all questions asked) and is counted
apart as `unparsable`; a question that did not fit into a session is null.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mindtune.evaluate.choice_prompts import OTHER_ORDER
from mindtune.evaluate.letters import parse_letters
from mindtune.evaluate.scoring import Suite, item

SIGNATURES = {
    "accuracy": "single answer, letter named in the reply, options as printed, unparsable is wrong",
    "accuracy_other_order": "as accuracy, options in another order, none in its printed place",
    "same_option": "the same option chosen in both orders",
    "likelihood": "single answer, likeliest letter as first token, options as printed",
    "likelihood_other_order": "as likelihood, options in another order",
    "exact_set": "several answers, all letters named in the reply and no other",
    "exact_set_likelihood": "several answers, likeliest of all replies of two and more letters",
    "unparsable": "no offered letter, or two different answers, in the reply; options as printed",
}


def is_right(row: Mapping[str, Any], found: frozenset[str] | None) -> bool:
    """Whether exactly the key's letters were named."""
    return found == frozenset(row["answer"])


def chosen_option(row: Mapping[str, Any], found: frozenset[str] | None) -> Any:
    """The text of the single option that was chosen, or None."""
    if found is None or len(found) != 1:
        return None
    return row["options"]["ABCDEFGH".index(next(iter(found)))]


def likeliest(row: Mapping[str, Any], scores: Mapping[str, float]) -> str:
    """The letter with the highest score; of equal ones the first."""
    return max(sorted(scores), key=lambda letter: scores[letter])


def by_stratum(row: Mapping[str, Any], suite: Suite, metric: str, value: Any, model: str) -> list:
    """A value for all questions, for its language if there are several, and for its strata."""
    strata = [row["lang"]] if len(suite.languages) > 1 else []
    names = [metric, *(f"{metric}@{part}" for part in [*strata, *row["strata"]])]
    return [item(row["question"], row["cluster"], name, value, model) for name in names]


def model_items(suite: Suite, model: str) -> list[dict[str, Any]]:
    """The item scores of one model; letters are measured of base and tuned alone."""
    rows, parsed = [], {}
    replies, letters = suite.replies[model], suite.letters.get(model, {})
    for key, row in suite.prompts.items():
        reply = replies.get(key)
        found = parse_letters(reply["reply"], row["options"]) if reply else None
        parsed[key] = found
        value = None if reply is None else float(is_right(row, found))
        other = key.endswith(OTHER_ORDER)
        if row["multiple"]:
            if not other:
                rows += by_stratum(row, suite, "exact_set", value, model)
            if letters and not other:
                guess = letters[key]["set"] if key in letters else None
                right = None if guess is None else float(guess == row["answer"])
                rows += by_stratum(row, suite, "exact_set_likelihood", right, model)
        else:
            name = "accuracy_other_order" if other else "accuracy"
            if other:
                rows.append(item(row["question"], row["cluster"], name, value, model))
                rows.append(same_option(suite, row, key, parsed, model))
            else:
                rows += by_stratum(row, suite, name, value, model)
            if letters:
                name = "likelihood_other_order" if other else "likelihood"
                guess = likeliest(row, letters[key]["scores"]) if key in letters else None
                right = None if guess is None else float(guess == row["answer"])
                rows.append(item(row["question"], row["cluster"], name, right, model))
        if not other:
            unparsable = None if reply is None else float(found is None)
            rows.append(item(row["question"], row["cluster"], "unparsable", unparsable, model))
    return rows


def same_option(
    suite: Suite, row: Mapping[str, Any], key: str, parsed: Mapping[str, Any], model: str
) -> dict[str, Any]:
    """Whether the option chosen in the other order is the one chosen as printed; null if either
    reply names none.
    """
    printed = suite.prompts[row["question"]]
    both = chosen_option(printed, parsed[row["question"]]), chosen_option(row, parsed[key])
    value = None if None in both else float(both[0] == both[1])
    return item(row["question"], row["cluster"], "same_option", value, model)


def floor_items(suite: Suite) -> list[dict[str, Any]]:
    """What guessing gives: one of the options (or of the sets of two and more) at random, and
    always the letter that is the key most often.
    """
    printed = {key: row for key, row in suite.prompts.items() if not key.endswith(OTHER_ORDER)}
    common = {
        multiple: Counter(r["answer"] for r in printed.values() if r["multiple"] is multiple)
        for multiple in (False, True)
    }
    rows = []
    for row in printed.values():
        options, multiple = len(row["options"]), row["multiple"]
        metric = "exact_set" if multiple else "accuracy"
        chance = 1 / (2**options - options - 1) if multiple else 1 / options
        most = max(sorted(common[multiple]), key=lambda key: common[multiple][key])
        rows += by_stratum(row, suite, metric, chance, "floor:chance")
        rows += by_stratum(row, suite, metric, float(row["answer"] == most), "floor:majority")
    return rows


def counts(suite: Suite, model: str) -> dict[str, int]:
    """asked = right + wrong + unparsable + skipped, over all prompts in all orders."""
    found: Counter[str] = Counter()
    for key, row in suite.prompts.items():
        reply = suite.replies[model].get(key)
        parsed = parse_letters(reply["reply"], row["options"]) if reply else None
        found[
            "skipped" if reply is None
            else "unparsable" if parsed is None
            else "right" if is_right(row, parsed)
            else "wrong"
        ] += 1  # fmt: skip
    names = ("right", "wrong", "unparsable", "skipped")
    return {"asked": len(suite.prompts)} | {name: found[name] for name in names}


def positions(suite: Suite, model: str) -> dict[str, dict[str, int]]:
    """How often each letter is the key, and how often it was chosen, over single questions in all
    orders: a preference for a place shows here.
    """
    rows = {key: row for key, row in suite.prompts.items() if not row["multiple"]}
    chosen: Counter[str] = Counter()
    for key, row in rows.items():
        reply = suite.replies[model].get(key)
        found = parse_letters(reply["reply"], row["options"]) if reply else None
        if found and len(found) == 1:
            chosen.update(found)
    keys = Counter(row["answer"] for row in rows.values())
    return {
        letter: {"key": keys[letter], "chosen": chosen[letter]} for letter in sorted(keys | chosen)
    }


def score(suite: Suite) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
    """Item scores of both models and of the floors, and facts for the record."""
    rows = floor_items(suite)
    for model in suite.replies:
        rows += model_items(suite, model)
    return rows, {
        "counts": {model: counts(suite, model) for model in suite.replies},
        "positions": {model: positions(suite, model) for model in suite.replies},
    }
