"""Patterns of the user's own: what matches is replaced, its counsellor's turn is not learned, or
its dialogue is rejected or only counted, as a topic; all counted.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mindtune.cli import UserError
from mindtune.data.labels import Turns

DEFAULTS = {"do": "reject", "with": "", "in": "any"}  # as in config/schema.yaml
ROLES = {"any": ("human", "gpt", "system"), "client": ("human",), "counsellor": ("gpt",)}


class Patterns:
    """The compiled patterns of `data.clean.patterns`.

    Raises UserError for a pattern that is no regular expression or a replacement that does not fit.
    """

    def __init__(self, specs: Sequence[Mapping[str, Any]]) -> None:
        self.rules = []
        for spec in (DEFAULTS | dict(given) for given in specs):
            where = f"data.clean.patterns: {spec['name']!r}"
            try:
                found = re.compile(spec["find"])
                if spec["do"] == "replace":
                    re.sub(found, spec["with"], "")
            except (re.error, IndexError) as error:
                raise UserError(
                    f"{where} is no regular expression with a fitting replacement ({error}); "
                    "see docs.python.org/3/library/re.html"
                ) from error
            self.rules.append((spec["name"], found, ROLES[spec["in"]], spec["do"], spec["with"]))
            if spec["do"] == "context" and spec["in"] == "client":
                raise UserError(f"{where} is for the client's turns, of which none is learned")
        names = [name for name, *_ in self.rules]
        if len(set(names)) < len(names):
            raise UserError("data.clean.patterns: two have one name; give each a name of its own")

    def replace(self, turns: Turns, counts: Counter[str]) -> Turns:
        """The turns after all replacements; `counts` gets how many by pattern."""
        for name, found, roles, action, by in self.rules:
            if action != "replace":
                continue
            changed = []
            for role, text in turns:
                times = 0
                if role in roles:
                    text, times = found.subn(by, text)
                counts[name] += times
                changed.append((role, text))
            turns = changed
        return turns

    def not_learned(self, text: str) -> list[str]:
        """Names of the patterns by which a counsellor's turn is not learned."""
        return [
            name
            for name, found, _, action, _ in self.rules
            if action == "context" and found.search(text)
        ]

    def matching(self, turns: Turns, do: str) -> list[str]:
        """Names of the patterns of this kind (reject, count) that these turns match."""
        return [
            name
            for name, found, roles, action, _ in self.rules
            if action == do and any(role in roles and found.search(t) for role, t in turns)
        ]
