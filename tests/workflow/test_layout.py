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
    "generate_baseline_replies": "generate_replies",
    "measure_base_letters": "measure_letters",
    "simulate_base_conversations": "simulate_conversations",
}
INITS = [
    SCRIPTS / "mindtune/__init__.py",
    *(SCRIPTS / f"mindtune/{room}/__init__.py" for room in ROOMS),
]


MOST = {"function": 40, "module": 250, "program": 200}
# A line of a module, or of a function, that says why it is longer
WHY = re.compile(r"^ *# Kept long: \w.+$", re.M)


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


def test_every_file_of_rules_has_a_colour_in_the_graph():
    from mindtune.audit.rulegraph import COLOURS

    assert {path.stem for path in (ROOT / "rules").glob("*.smk")} - set(COLOURS) <= {
        "common",
        "start",
    }


def test_a_record_has_the_name_of_a_rule_or_of_what_lies_beside_it():
    """Three have the name of what people ask for; docs/audit.md says so."""
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    records = re.findall(r'(?:records?|scores|verify|smoke)=\S*"results/\S*?([\w{}]+)\.json"', text)
    rules = set(re.findall(r"rule (?:\w+ as )?(\w+)", text))
    beside = re.findall(r'"results/(?:[^"]+/)?([^"/.]+)(?:\.(?!json")\w+)?"', text)
    assert len(records) > 25
    assert set(records) - rules - set(beside) == {"verify", "smoke", "gates"}


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


def test_a_rule_is_read_without_scrolling():
    """snakefmt leaves texts and shell commands as long as they are."""
    for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]:
        lines = path.read_text(encoding="utf-8").splitlines()
        wide = [f"{path.name}:{row}" for row, line in enumerate(lines, 1) if len(line) > 100]
        assert not wide, wide


def functions(tree):
    """Every function of a module, methods and inner ones too."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def too_long():
    """{place: lines} of every function, module, program and test file that is longer than a reader
    holds and does not say why.
    """
    found = {}
    for path in sorted([*SCRIPTS.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        text, place = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        program = path.parent in (SCRIPTS, SCRIPTS / "tools", SCRIPTS / "deploy", SCRIPTS / "bench")
        kind = "program" if program and "__main__" in text else "module"
        lines = text.splitlines()
        if len(lines) > MOST[kind] and not any(map(WHY.match, lines)):
            found[place] = len(lines)
        for node in functions(ast.parse(text)):
            body = lines[node.lineno - 1 : node.end_lineno]
            if len(body) > MOST["function"] and not any(map(WHY.match, body)):
                found[f"{place}:{node.name}"] = len(body)
    return found


def test_nothing_grows_beyond_what_a_reader_holds():
    grown = too_long()
    assert not grown, f"split these (lines), or say `# Kept long: why` in them: {grown}"
