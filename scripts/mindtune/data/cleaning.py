"""The cleaning steps: what each one repairs or rejects, in the order in which they run.

A repair changes turns and leaves its name in the row's `fixes`; a rejection leaves its name in
`reasons`. Every step of REPAIRS and REJECTIONS can be switched off by name; REQUIRED reasons
cannot, because rows that fail them have no dialogue in them. Cleaning a clean dialogue changes
nothing.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mindtune.cli import UserError
from mindtune.data.hotlines import Hotlines
from mindtune.data.labels import KNOWN_LABELS, ROLE_NAMES, ContextOnly, is_learned, learned
from mindtune.data.language import LANGUAGES
from mindtune.data.patterns import Patterns
from mindtune.data.personal_data import Mask, maskers, may_hold
from mindtune.data.rejections import CONTENT_REJECTIONS, Rules, Turns
from mindtune.data.repairs import TEXT_REPAIRS, TURN_REPAIRS

MASKS = (
    "mask_email", "mask_url", "mask_id_card", "mask_bank_card",
    "mask_qq", "mask_wechat", "mask_mobile", "mask_landline",
)  # fmt: skip
REPAIRS = (
    tuple(step.name for step in TEXT_REPAIRS) + MASKS + tuple(name for name, _ in TURN_REPAIRS)
)
# Decided where the tokenizer is (mindtune/data/row_cleaning.py), and where all dialogues are known
# (mindtune/data/ledger.py).
LATE_REJECTIONS = ("over_long", "exact_duplicate", "near_duplicate", "repeated_line")
REJECTIONS = tuple(name for name, _ in CONTENT_REJECTIONS) + LATE_REJECTIONS
REQUIRED = ("malformed", "unknown_role", "turns_out_of_order")
# What the configuration decides: a source's weight or limit, crises, patterns of the user's own.
POLICY = ("over_share", "crisis", "pattern", "nothing_to_learn")
# Rejections for what one counsellor's turn says: `bad_turns: context` lets it stay as context.
OF_ONE_TURN = ("refusal", "other_model_identity", "machine_identity")
STEPS = REPAIRS + REJECTIONS
# One repair may uncover work for an earlier one (a dropped `医生：` leaves a line of narration),
# so they run again until nothing changes; real dialogues need two rounds.
MOST_ROUNDS = 8


Watch = Callable[[str, Turns], None]


@dataclass
class Cleaned:
    """What became of one dialogue. `masked` counts the pieces of personal data by step,
    `patterns` what the user's own patterns replaced or rejected, `topics` are those that count it.
    """

    turns: Turns
    fixes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    masked: Counter[str] = field(default_factory=Counter)
    patterns: Counter[str] = field(default_factory=Counter)
    topics: list[str] = field(default_factory=list)

    def change(self, name: str, turns: Turns, watch: Watch) -> None:
        """Take what a step made of the turns, and leave its name."""
        self.turns = turns
        if name not in self.fixes:
            self.fixes.append(name)
        watch(name, turns)


class Cleaner:
    """The chosen steps with their settings, made once for many dialogues."""

    def __init__(
        self,
        steps: Mapping[str, bool],
        role_map: Mapping[str, str],
        min_turns: int,
        languages: Iterable[str],
        hotlines: Hotlines,
        special: re.Pattern[str],
        patterns: Sequence[Mapping[str, str]] = (),
        bad_turns: str = "reject",
    ) -> None:
        check_steps(steps)
        self.bad_turns = bad_turns
        for label, role in role_map.items():
            if role not in ROLE_NAMES:
                raise UserError(
                    f"role_map: {label!r} is mapped to {role!r}; expected human, gpt or system"
                )
        if unknown := sorted(set(languages) - set(LANGUAGES)):
            raise UserError(
                f"languages: found {', '.join(unknown)}; expected only {', '.join(LANGUAGES)}"
            )
        self.labels = KNOWN_LABELS | {_fold_label(label): role for label, role in role_map.items()}
        self.patterns = Patterns(patterns)
        self.rules = Rules(min_turns, frozenset(languages), special)
        self.text_repairs = [step for step in TEXT_REPAIRS if steps[step.name]]
        masks = maskers(hotlines)
        self.masks: list[tuple[str, Mask]] = [(name, masks[name]) for name in MASKS if steps[name]]
        self.turn_repairs = [(name, fix) for name, fix in TURN_REPAIRS if steps[name]]
        self.rejections = [(name, test) for name, test in CONTENT_REJECTIONS if steps[name]]

    def clean(self, turns: Turns, watch: Watch = lambda name, turns: None) -> Cleaned:
        """Repair and judge one dialogue given as (label, text) turns; `watch` is told of every
        step that changed them.
        """
        done = Cleaned(turns)
        if not self._settle(done, watch):
            return done
        replaced = self.patterns.replace(done.turns, done.patterns)
        if replaced != done.turns:
            done.change("pattern", replaced, watch)
            self._settle(done, watch)
        self._leave_as_context(done, watch)
        done.reasons += self._reasons(done.turns)
        if rejecting := self.patterns.matching(done.turns, "reject"):
            done.reasons.append("pattern")
            done.patterns.update(rejecting)
        if not done.reasons and not in_order(done.turns):
            done.reasons.append("turns_out_of_order")
        done.topics = self.patterns.matching(done.turns, "count")
        return done

    def _reasons(self, turns: Turns) -> list[str]:
        """Why the dialogue is rejected for what is said in it; turns that are context only may be
        bad.
        """
        told = learned(turns)
        lowered = "\n".join(text for _, text in turns).lower()
        reasons = [
            name
            for name, test in self.rejections
            if test(self.rules, told if name in OF_ONE_TURN else turns, lowered)
        ]
        if len(told) < len(turns) and not any(role == "gpt" for role, _ in told):
            reasons.append("nothing_to_learn")
        return reasons

    def _leave_as_context(self, done: Cleaned, watch: Watch) -> None:
        """Counsellors' turns that are not to be learned become context."""
        tests = [
            test
            for name, test in self.rejections
            if self.bad_turns == "context" and name in OF_ONE_TURN
        ]
        turns: Turns = []
        for role, text in done.turns:
            if role == "gpt" and is_learned((role, text)):
                found = self.patterns.not_learned(text)
                done.patterns.update(found)
                if found or any(test(self.rules, [(role, text)], text.lower()) for test in tests):
                    role = ContextOnly(role)
            turns.append((role, text))
        if len(learned(turns)) < len(turns):
            done.change("not_learned", turns, watch)

    def _settle(self, done: Cleaned, watch: Watch) -> bool:
        """Repair until nothing changes; False when the row has no roles or no end of markup."""
        for _ in range(MOST_ROUNDS):
            before = done.turns
            if not self._repair(done, watch):
                done.reasons.append("unknown_role")
                return False
            if done.turns == before:
                return True
        done.reasons.append("malformed")  # markup in markup in markup ...
        return False

    def _repair(self, done: Cleaned, watch: Watch) -> bool:
        """Run every repair once; False when a label is unknown."""
        self._repair_text(done, watch)
        self._mask(done, watch)
        if not self._name_roles(done, watch):
            return False
        for name, fix in self.turn_repairs:
            repaired = fix(done.turns)
            if repaired != done.turns:
                done.change(name, repaired, watch)
        return True

    def _repair_text(self, done: Cleaned, watch: Watch) -> None:
        texts = [text for _, text in done.turns]
        whole = "\n".join(texts)
        for step in self.text_repairs:
            if step.needs is not None and not step.needs.search(whole):
                continue
            if step.spares(whole):
                continue
            repaired = [step.fix(text) for text in texts]
            if repaired != texts:
                texts, whole = repaired, "\n".join(repaired)
                done.change(step.name, _with_texts(done.turns, texts), watch)

    def _mask(self, done: Cleaned, watch: Watch) -> None:
        texts = [text for _, text in done.turns]
        if not may_hold("\n".join(texts)):
            return
        suspects = [index for index, text in enumerate(texts) if may_hold(text)]
        for name, mask in self.masks:
            found = 0
            for index in suspects:
                texts[index], count = mask(texts[index])
                found += count
            if found:
                done.masked[name] += found
                done.change(name, _with_texts(done.turns, texts), watch)

    def _name_roles(self, done: Cleaned, watch: Watch) -> bool:
        """Labels to human, gpt or system; False when one is unknown."""
        named: Turns = []
        for label, text in done.turns:
            role = label if label in ROLE_NAMES else self.labels.get(_fold_label(label))
            if role is None:
                return False
            named.append((role if is_learned((label, text)) else ContextOnly(role), text))
        if named != done.turns:
            done.change("role_name", named, watch)
        return True


def _with_texts(turns: Turns, texts: Iterable[str]) -> Turns:
    return [(label, text) for (label, _), text in zip(turns, texts, strict=True)]


def _fold_label(label: str) -> str:
    return label.strip().rstrip(":：").strip().lower()


def in_order(turns: Turns) -> bool:
    """True for an optional system turn followed by one or more (client, counsellor) pairs, none
    empty.

    What a trainer takes.
    """
    spoken = turns[1:] if turns and turns[0][0] == "system" else turns
    roles = [role for role, _ in spoken]
    return (
        bool(roles)
        and roles == ["human", "gpt"] * (len(roles) // 2)
        and all(text.strip() for _, text in turns)
    )


def check_steps(steps: Mapping[str, bool]) -> None:
    """A step that is unknown or left out is a UserError."""
    if unknown := sorted(set(steps) - set(STEPS)):
        raise UserError(f"steps: found {', '.join(unknown)}, expected only {', '.join(STEPS)}")
    if missing := [name for name in STEPS if name not in steps]:
        raise UserError(f"steps: {', '.join(missing)} missing; give true or false for every step")
