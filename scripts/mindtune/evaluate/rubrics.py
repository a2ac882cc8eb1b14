"""A rubric is one file: config/rubrics/NAME.yaml says what a judge is asked about a reply, or about
a whole conversation, in zh and en, each question observable in the text and with passing and
failing examples.

The answers are yes or no (`good` is the one that passes), or with `most` a number from 0 to that.
`items` takes the crisis suite's items that no rule decides in the place of behaviours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.config_errors import check_known, nearest
from mindtune.evaluate.crisis_items import Item, read_items
from mindtune.evaluate.crisis_rules import decide
from mindtune.source_files import check_source
from mindtune.strict_yaml import read_strictly

LANGUAGES = ("zh", "en")
KEYS = {"about", "of", "suites", "prefer", "behaviours", "items", "note"}
NEEDED = {"about", "note"}
# What a rubric may be of. Simulated conversations stand among the suites by this name
REPLIES, TALKS = "replies", "conversations"
# About single replies, so a rubric of conversations has none of them
OF_REPLIES = ("suites", "prefer", "items")
BEHAVIOUR = {"good", "most", "question", "pass", "fail"}
EXAMPLES = 2


@dataclass(frozen=True)
class Behaviour:
    """One question about a reply. `most` is 1 for yes or no; `when` {rule: answer} and `kinds` (of
    prompts) say where it is asked at all.
    """

    name: str
    question: Mapping[str, str]
    passing: Mapping[str, list[str]]
    failing: Mapping[str, list[str]]
    good: bool = True
    most: int = 1
    when: Mapping[str, bool] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()

    @property
    def is_binary(self) -> bool:
        """Whether the answer is yes or no."""
        return self.most == 1

    def share(self, answer: float) -> float:
        """An answer as a share of the best one, 0 to 1."""
        return float(answer == self.good) if self.is_binary else answer / self.most

    def applies(self, prompt: Mapping[str, Any], reply: str) -> bool:
        """Whether it is asked of this reply to this prompt."""
        if self.kinds and prompt.get("kind") not in self.kinds:
            return False
        return all(decide(rule, reply, None) is wanted for rule, wanted in self.when.items())


@dataclass(frozen=True)
class Rubric:
    """A rubric. `suites` is [TALKS] for one of conversations. `prefer` is the question about two
    replies, empty if none is asked; `risk_only` leaves out prompts without risk.
    """

    name: str
    about: str
    suites: list[str]
    behaviours: Mapping[str, Behaviour]
    note: str
    prefer: Mapping[str, str] = field(default_factory=dict)
    risk_only: bool = False

    @property
    def of_talks(self) -> bool:
        """Whether a judge reads whole conversations by it."""
        return self.suites == [TALKS]

    def applying(self, prompt: Mapping[str, Any], reply: str) -> dict[str, Behaviour]:
        """What is asked of a reply to a prompt."""
        if self.risk_only and not prompt.get("risk"):
            return {}
        return {
            name: found for name, found in self.behaviours.items() if found.applies(prompt, reply)
        }


def check_texts(said: Any, where: str) -> Mapping[str, str]:
    """A text in every language."""
    if not isinstance(said, dict) or set(said) != set(LANGUAGES):
        raise UserError(f"{where} needs a text for each of {', '.join(LANGUAGES)}; it is {said!r}")
    if wrong := [key for key, text in said.items() if not isinstance(text, str) or not text]:
        raise UserError(f"{where}.{wrong[0]} is {said[wrong[0]]!r}, not text; write a question")
    return said


def check_examples(said: Any, where: str) -> Mapping[str, list[str]]:
    """Two different replies in every language."""
    for language in LANGUAGES:
        found = said.get(language) if isinstance(said, dict) else None
        if (
            not isinstance(found, list)
            or len(set(map(str, found))) != EXAMPLES
            or not all(isinstance(text, str) and text for text in found)
        ):
            raise UserError(
                f"{where}.{language} is {found!r}; give {EXAMPLES} different replies as examples"
            )
    return said


def read_behaviour(name: str, said: Any, where: str) -> Behaviour:
    """One behaviour of a rubric's file, checked."""
    if not isinstance(said, dict):
        raise UserError(f"{where} is {said!r}; expected question, good, pass and fail")
    check_known(said, BEHAVIOUR, where)
    most, good = said.get("most", 1), said.get("good", True)
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= 10:
        raise UserError(f"{where}.most is {most!r}; give the highest score, a number from 1 to 10")
    if not isinstance(good, bool):
        raise UserError(f"{where}.good is {good!r}; give yes or no, the answer that passes")
    return Behaviour(
        name,
        check_texts(said.get("question"), f"{where}.question"),
        check_examples(said.get("pass"), f"{where}.pass"),
        check_examples(said.get("fail"), f"{where}.fail"),
        good,
        most,
    )


def of_item(item: Item, items: Mapping[str, Item], where: str) -> Behaviour:
    """An item of the crisis suite as a behaviour; its examples stand as [zh, en]."""
    when = {items[other].rule: wanted for other, wanted in item.when.items()}
    if "" in when or "hotline_correct" in when:
        raise UserError(
            f"{where}: {item.name} is asked only after an item that no rule on the text alone "
            "decides; let `when` name another item"
        )
    passing, failing = (
        {language: [texts[place]] for place, language in enumerate(LANGUAGES)}
        for texts in (item.passing, item.failing)
    )
    return Behaviour(
        item.name, item.question, passing, failing, item.good, 1, when, tuple(item.kinds)
    )


def check_of(said: Mapping[str, Any], path: Path) -> None:
    """A rubric is of replies to suites, or of conversations."""
    of = said.get("of", REPLIES)
    if of not in (REPLIES, TALKS):
        raise UserError(f"{path}: of is {of!r}; expected {REPLIES} or {TALKS}")
    if of == REPLIES:
        if "suites" not in said:
            raise UserError(f"{path}: the key suites is missing; config/rubrics has examples")
        if TALKS in said["suites"]:
            raise UserError(f"{path}: suites names {TALKS}; write `of: {TALKS}` and no suites")
    elif wrong := [key for key in OF_REPLIES if key in said]:
        raise UserError(
            f"{path}: {wrong[0]} is about single replies, and the rubric is of {TALKS}; remove it"
        )


def read_rubric(path: Path, root: Path) -> Rubric:
    """A rubric's file; a UserError names the file and the key. `items` starts at `root`."""
    said = read_strictly(path)
    if not isinstance(said, dict):
        raise UserError(f"{path} is no mapping of keys to values; config/rubrics has examples")
    check_known(said, KEYS, str(path))
    if missing := sorted(NEEDED - set(said)):
        raise UserError(f"{path}: the key {missing[0]} is missing; config/rubrics has examples")
    check_of(said, path)
    if ("items" in said) == ("behaviours" in said):
        raise UserError(f"{path} needs behaviours or items, and not both; give one of them")
    if "items" in said:
        check_source(str(root / said["items"]))
        items = read_items(root / said["items"])
        behaviours = {
            name: of_item(item, items, f"{path}: items")
            for name, item in items.items()
            if not item.rule and item.asked_of == "risk"
        }
    else:
        behaviours = {
            name: read_behaviour(name, part, f"{path}: behaviours.{name}")
            for name, part in said["behaviours"].items()
        }
    prefer = check_texts(said["prefer"], f"{path}: prefer") if "prefer" in said else {}
    suites = [TALKS] if said.get("of") == TALKS else said["suites"]
    return Rubric(
        path.stem, said["about"], suites, behaviours, said["note"], prefer, "items" in said
    )


def rubric_files(folder: Path) -> dict[str, Path]:
    """{name: file} of all rubrics of a folder, sorted by name."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def files_of(path: Path) -> list[str]:
    """What a rubric is made of besides its own file, as the file names it."""
    said = read_strictly(path)
    return [said["items"]] if isinstance(said, dict) and "items" in said else []


def chosen_rubrics(
    judge: Mapping[str, Any], suites: Mapping[str, Any], talks: bool, root: Path
) -> dict[str, dict[str, Any]]:
    """{name: {"path", "reads", "suites"}} of the rubrics that the section `judge` names and that
    have something to judge: a suite that is evaluated, or conversations (`talks`). Without a judge
    there are none.
    """
    judgeable = {*suites, *([TALKS] if talks else [])}
    if TALKS in suites:
        raise UserError(
            f"config/suites/{TALKS}.yaml has the name of the simulated conversations; rename it"
        )
    files = rubric_files(root / "config/rubrics")
    found = {}
    for name in judge["rubrics"]:
        if name not in files:
            raise UserError(
                f"config key judge.rubrics names {name!r}, and there is no "
                f"config/rubrics/{name}.yaml; the nearest is {nearest(name, files)}"
            )
        if name in suites:
            raise UserError(
                f"config/rubrics/{name}.yaml has the name of a suite, and both become a table; "
                "rename the rubric"
            )
        rubric = read_rubric(files[name], root)
        judged = [suite for suite in rubric.suites if suite in judgeable]
        if judged and judge["models"]:
            found[name] = {
                "path": f"config/rubrics/{name}.yaml",
                "reads": files_of(files[name]),
                "suites": judged,
            }
    return found
