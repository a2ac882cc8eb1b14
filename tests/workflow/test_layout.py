"""The layout says what it promises: a program a rule, and rooms that know the ground and not each
other.
"""

import ast
import re

import pytest
from planning import ROOT

SCRIPTS = ROOT / "scripts"
ROOMS = ("data", "train", "export", "serve", "evaluate", "audit")
# One program makes both of a pair: base and tuned, tokenizer and model
TWINS = {
    "build_demo_tokenizer": "build_demo_model",
    "fetch_tokenizer": "fetch_model",
    "generate_base_replies": "generate_replies",
    "measure_base_letters": "measure_letters",
}
INITS = [
    SCRIPTS / "mindtune/__init__.py",
    *(SCRIPTS / f"mindtune/{room}/__init__.py" for room in ROOMS),
]


def imported(path):
    """Dotted names below `mindtune` that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_a_program_serves_a_rule_and_has_its_name():
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules").glob("*.smk"))]
    rules = {name for text in texts for name in re.findall(r"^\s*rule (\w+):", text, re.M)} | {
        "build_env"
    }
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {TWINS.get(rule, rule) for rule in rules}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_the_ground_and_no_other_room(room):
    modules = sorted((SCRIPTS / "mindtune" / room).rglob("*.py"))
    assert modules
    for path in modules:
        rooms = {
            name.split(".")[1] for name in imported(path) if name.startswith("mindtune.")
        } & set(ROOMS)
        assert rooms <= {room}, f"{path.relative_to(ROOT)} imports from {rooms - {room}}"


def test_the_ground_knows_no_room():
    for path in sorted((SCRIPTS / "mindtune").glob("*.py")):
        rooms = {
            name.split(".")[1] for name in imported(path) if name.startswith("mindtune.")
        } & set(ROOMS)
        assert not rooms, f"{path.relative_to(ROOT)} imports from {rooms}"


def test_init_files_are_empty_because_the_code_hash_does_not_see_them():
    assert all(path.read_bytes() == b"" for path in INITS)


def test_every_unit_test_lies_in_a_room_that_has_an_environment():
    from run import UNIT, environment_of

    assert {environment_of(path) for path in UNIT.rglob("test_*.py")} == {"driver", "core", "train"}
