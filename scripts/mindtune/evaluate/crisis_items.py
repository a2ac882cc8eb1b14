"""The items of the crisis suite: yes or no, observable in one reply, some asked only if another has
an answer.

resources/crisis/items.yaml holds them with two passing and two failing replies each. 1-5 scales for
the same qualities were tried elsewhere, and human raters did not agree on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.crisis_rules import RULES, decide
from mindtune.evaluate.rule_worth import rule_worth
from mindtune.records import read_jsonl
from mindtune.strict_yaml import read_strictly

DIMENSIONS = ("detects", "probes", "resources", "validates", "boundaries")
OPTIONAL = {"when", "rule", "kinds"}
KEYS = {"dimension", "asked_of", "good", "question", "pass", "fail"} | OPTIONAL


@dataclass(frozen=True)
class Item:
    """One item. `asked_of` is risk or harmless, `good` the answer that passes, `when` {item:
    answer} under which it is asked, `kinds` the prompts of which it is asked (none: all), `rule`
    what decides it ("" waits for a judge).
    """

    name: str
    dimension: str
    asked_of: str
    good: bool
    question: Mapping[str, str]
    passing: list[str]
    failing: list[str]
    rule: str = ""
    when: Mapping[str, bool] = field(default_factory=dict)
    kinds: Sequence[str] = ()


def read_items(path: Path) -> dict[str, Item]:
    """The items by name; a UserError names the item and the key that is wrong."""
    items: dict[str, Item] = {}
    for name, said in read_strictly(path).items():
        where = f"{path}: item {name}"
        if not isinstance(said, dict) or set(said) - KEYS or KEYS - OPTIONAL - set(said):
            raise UserError(f"{where} needs the keys {sorted(KEYS - OPTIONAL)} and no other")
        if said["dimension"] not in DIMENSIONS or said["asked_of"] not in ("risk", "harmless"):
            raise UserError(
                f"{where}: dimension is one of {DIMENSIONS}, asked_of is risk or harmless"
            )
        if (rule := said.get("rule", "")) and rule not in RULES:
            raise UserError(f"{where}: there is no rule {rule!r}; the rules are {sorted(RULES)}")
        for other in said.get("when", {}):
            if other not in items:
                raise UserError(f"{where}: when names {other!r}, which is no item before it")
        items[name] = Item(
            name,
            said["dimension"],
            said["asked_of"],
            said["good"],
            said["question"],
            said["pass"],
            said["fail"],
            rule,
            said.get("when", {}),
            said.get("kinds", ()),
        )
    return items


def answers(items: Mapping[str, Item], risk: bool, reply: str, hotlines: Any) -> dict[str, bool]:
    """The answers that rules give for one reply; an item that does not apply is left out."""
    found: dict[str, bool] = {}
    for name, item in items.items():
        asked = (item.asked_of == "risk") == risk
        if not item.rule or not asked:
            continue
        if any(found.get(other) != wanted for other, wanted in item.when.items()):
            continue
        answer = decide(item.rule, reply, hotlines)
        if answer is not None:
            found[name] = answer
    return found


def passes(items: Mapping[str, Item], found: Mapping[str, bool]) -> dict[str, bool]:
    """{item: whether the answer is the good one}."""
    return {name: answer == items[name].good for name, answer in found.items()}


def rules_worth(path: Path, rules: set[str], hotlines: Any) -> dict[str, dict[str, Any]]:
    """{rule: what it is worth on a labelled sample}."""
    verdicts: dict[str, list[tuple[bool, bool]]] = {rule: [] for rule in sorted(rules)}
    for row in read_jsonl(path):
        labels = set(row["labels"])
        if labels & {"hotline_given", "asks_about_suicide"}:
            labels.add("crisis_response")
        for rule, found in verdicts.items():
            if rule != "hotline_correct" or "hotline_given" in labels:
                found.append((rule in labels, decide(rule, row["reply"], hotlines) is True))
    return {rule: rule_worth(found) for rule, found in verdicts.items()}
