"""Configuration files read strictly: what YAML takes in silence, and means something else than
people think, is one sentence.

YAML lets a second key of the same name win, reads the keys `on` and `10` as no texts, `010` as
eight, and lets a file of one kilobyte stand for a billion values.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mindtune.cli import UserError

MOST_BYTES = 2_000_000
MOST_VALUES = 100_000  # when every alias is replaced by what it stands for
DEEPEST = 40
DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
YAML_TAG = "tag:yaml.org,2002:"


class StrictLoader(yaml.SafeLoader):
    """YAML's safe loader with a bound on the levels: without one, a deep text exhausts the
    interpreter's stack.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > DEEPEST:
            problem = f"more than {DEEPEST} levels lie in each other"
            raise yaml.composer.ComposerError(None, None, problem, self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_strictly(path: Path) -> Any:
    """What a JSON or YAML file holds; a UserError names file and line of what is ambiguous,
    endless or not YAML.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UserError(
            f"{path} has {size:,} bytes, more than a configuration needs ({MOST_BYTES:,}); is it "
            f"data?"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    return parse_strictly(text, str(path))


def parse_strictly(text: str, name: str) -> Any:
    """As `read_strictly`, for a text; JSON is tried first, as Snakemake does."""
    try:
        found = json.loads(
            text,
            object_pairs_hook=lambda pairs: unique(pairs, name),
            parse_constant=refuse_constant,
        )
    except (ValueError, RecursionError):
        return parse_yaml(text, name)
    check_depth(found, name)
    return found


def unique(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    """A JSON object, each key of which stands there once."""
    for key, times in Counter(key for key, _ in pairs).items():
        if times > 1:
            raise UserError(
                f"{name} has the key {key!r} {times} times in one place; keep one of them"
            )
    return dict(pairs)


def check_depth(value: Any, name: str) -> None:
    """No more levels in JSON than in YAML."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            part for upper in level if isinstance(upper, dict | list) for part in values(upper)
        ]
    if level:
        raise UserError(
            f"{name} has more than {DEEPEST} levels in each other; no key of the configuration "
            f"lies so deep"
        )


def values(part: dict[str, Any] | list[Any]) -> list[Any]:
    """What lies directly in an object or a list."""
    return list(part.values()) if isinstance(part, dict) else part


def refuse_constant(word: str) -> None:
    """NaN and Infinity are no JSON; as YAML they are texts, which no number's key takes."""
    raise ValueError(word)


def parse_yaml(text: str, name: str) -> Any:
    """The one document of a YAML text."""
    loader = StrictLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        check_tree(node, name)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(
            f"{name}{place} cannot be read as YAML ({problem}); correct it (indent with spaces, "
            f"quote odd texts)"
        ) from None
    finally:
        loader.dispose()


def check_tree(root: yaml.Node, name: str) -> None:
    """Raise UserError for a node that contains itself, for too many values, and for keys and
    numbers that surprise.
    """
    sizes: dict[int, int] = {}
    for node in bottom_up(root, name):
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children(node))
        if sizes[id(node)] > MOST_VALUES:
            raise UserError(
                f"{place(node, name)} stands for more than {MOST_VALUES:,} values, each alias "
                f"(*name) replaced by what it means; "
                "write out what is needed"
            )
        if isinstance(node, yaml.MappingNode):
            check_keys(node, name)
        elif isinstance(node, yaml.ScalarNode):
            check_scalar(node, name)


def bottom_up(root: yaml.Node, name: str) -> Iterator[yaml.Node]:
    """Yield every node once, after those that it contains."""
    done: set[int] = set()
    path: set[int] = set()
    stack = [(root, False)]
    while stack:
        node, left = stack.pop()
        if left:
            path.discard(id(node))
            done.add(id(node))
            yield node
        elif id(node) in path:
            raise UserError(
                f"{place(node, name)} contains itself through an alias (*name); write out what is "
                f"meant"
            )
        elif id(node) not in done:
            path.add(id(node))
            stack.append((node, True))
            stack += [(child, False) for child in children(node)]


def children(node: yaml.Node) -> list[yaml.Node]:
    """The nodes directly in a node."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def check_keys(node: yaml.MappingNode, name: str) -> None:
    """Every key is a text, and stands there once."""
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if key.tag == YAML_TAG + "merge":
            continue
        if key.tag != YAML_TAG + "str":
            raise UserError(
                f"{place(key, name)} has a key that YAML does not read as text "
                f"({key.tag.rpartition(':')[2]}: "
                f"{words(key)}); put it in quotes, or choose another name"
            )
        if key.value in seen:
            raise UserError(
                f"{place(key, name)} has the key {key.value!r} again, which line {seen[key.value]} "
                f"already has in the same "
                "place, and YAML would take the last; remove one of them"
            )
        seen[key.value] = key.start_mark.line + 1


def check_scalar(node: yaml.ScalarNode, name: str) -> None:
    """No date, no number that is not finite, and no whole number in another notation than the
    decimal one.
    """
    kind = node.tag.removeprefix(YAML_TAG)
    if kind == "timestamp":
        raise UserError(
            f"{place(node, name)} has the date {node.value}; put it in quotes if it is meant as "
            f"text"
        )
    if kind == "int" and not DECIMAL.fullmatch(node.value):
        raise UserError(
            f"{place(node, name)} has the number {node.value}, which YAML reads as octal, "
            f"hexadecimal, binary or of base 60; "
            "write it in decimal, or in quotes if it is meant as text"
        )
    if kind == "float" and not is_finite(node.value):
        raise UserError(
            f"{place(node, name)} has {node.value}, which is no finite decimal number; write one"
        )


def is_finite(text: str) -> bool:
    """Whether a number is one in decimal notation; YAML's .inf, .nan and 1:30.5 are none."""
    try:
        return math.isfinite(float(text.replace("_", "")))
    except ValueError:
        return False


def words(node: yaml.Node) -> str:
    """A short text of a node, for a sentence."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "not a single word"


def place(node: yaml.Node, name: str) -> str:
    """File and line of a node."""
    return f"{name} line {node.start_mark.line + 1}"
