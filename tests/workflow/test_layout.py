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
    "simulate_base_conversations": "simulate_conversations",
}
INITS = [
    SCRIPTS / "mindtune/__init__.py",
    *(SCRIPTS / f"mindtune/{room}/__init__.py" for room in ROOMS),
]


# Rooms that are being split; take a line out when its room is done
UNDER_WORK = (
    "scripts/mindtune/data/",
    "scripts/mindtune/audit/",
    "scripts/bench/bench_data.py",
    "scripts/bench/data_speed.py",
    "scripts/deploy/",
    "scripts/write_datasheet.py",
    "scripts/fetch_",
    "scripts/generate_replies.py",
    "scripts/score_dialogue.py",
    "tests/unit/data/",
    "tests/unit/serve/",
    "tests/unit/deploy/",
    "tests/unit/evaluate/",
    "tests/unit/audit/",
    "tests/e2e/",
    "tests/faults/",
    "tests/slurm/",
    "tests/workflow/test_reruns.py",  # grows with every key and program
)
MOST = {"function": 40, "module": 250, "program": 200}
# What was longer when the limits came, with its length then: it may shrink, and nothing may join
LONGER = {
    "tests/unit/ground/test_config.py": 275,
    "scripts/bench/bench_chain.py": 298,
    "scripts/bench/bench_demo.py:measure_demo": 47,
    "scripts/bench/bench_masking.py": 300,
    "scripts/bench/bench_merge.py:main": 43,
    "scripts/bench/bench_proof.py": 339,
    "scripts/bench/bench_proof.py:main": 53,
    "scripts/bench/bench_train.py": 311,
    "scripts/bench/bench_train.py:train": 46,
    "scripts/bench/peers.py:datatrove": 57,
    "scripts/build_demo_model.py": 247,
    "scripts/export_model.py": 271,
    "scripts/mindtune/train/flags.py:train_flags": 43,
    "scripts/pack_stats.py:main": 51,
    "scripts/tools/demo.py:main": 43,
    "scripts/tools/show_dashboard.py": 277,
    "scripts/tools/slurm_doctor.py": 354,
    "scripts/tools/slurm_doctor.py:check_partition": 44,
    "tests/unit/export/test_export.py": 400,
    "tests/unit/export/test_export.py:test_card_of_a_hub_dataset": 82,
    "tests/unit/export/test_merging.py": 597,
    "tests/unit/ground/test_made_by.py": 311,
    "tests/unit/ground/test_safe_loading.py": 287,
}


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


def lengths():
    """{place: (lines, limit)} of every function, module, program and test file of ours."""
    found = {}
    for path in sorted([*SCRIPTS.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        text, place = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        program = path.parent in (SCRIPTS, SCRIPTS / "tools", SCRIPTS / "deploy", SCRIPTS / "bench")
        kind = "program" if program and "__main__" in text else "module"
        found[place] = (len(text.splitlines()), MOST[kind])
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = node.end_lineno - node.lineno + 1
                key = f"{place}:{node.name}"
                found[key] = max(found.get(key, (0, 0)), (lines, MOST["function"]))
    return found


def test_nothing_grows_beyond_what_a_reader_holds():
    long = {
        place: lines
        for place, (lines, limit) in lengths().items()
        if lines > limit and not place.startswith(UNDER_WORK)
    }
    grown = {place: lines for place, lines in long.items() if lines > LONGER.get(place, 0)}
    assert not grown, f"split these (lines): {grown}"
