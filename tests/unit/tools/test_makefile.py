"""What people give to make is text: a quote, a dollar or a word for make in it neither runs nor
breaks anything.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.environments import interpreter

ROOT = Path(__file__).resolve().parents[3]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# What people and make start by its path: program -> the environment it runs in
IN_DRIVER = {*re.findall(r"\$\(DRIVER\) ([\w/]+\.py)", MAKEFILE), "tests/faults/noticed.py"}
IN_CORE = {
    *re.findall(r"\$\(DRIVER\) \$\(CORE\)\)\" ([\w/]+\.py)", MAKEFILE),
    *(str(path.relative_to(ROOT)) for path in (ROOT / "scripts/bench").glob("bench_*.py")),
}
PROGRAMS = {**dict.fromkeys(IN_CORE, "core"), **dict.fromkeys(IN_DRIVER, "driver")}
HOSTILE = [
    "o'brien 的 x'; touch {mark}; echo '",
    '"; touch {mark}; "',
    "$(shell touch {mark})",
    "$$(touch {mark})`touch {mark}`",
    "${{shell touch {mark}}}\\",
    "a\ntouch {mark}\n#",
    "--help=$(eval $(shell touch {mark}))",
]
# what each target says of what it was given, and did not find
SAID = {
    ("verify", "EXPORT"): "is not a folder",
    ("row", "WORKDIR"): "is missing",
    ("demo", "DATA"): "does not exist",
    ("deployment", "STORE"): "is no export",
    ("chat", "KEY"): "",
    ("dashboard", "WORKDIR"): "has no training",
    ("help", "SEED"): "",
    ("plan", "WORKDIR"): "is no folder",
    ("chart", "WORKDIR"): "is not there; run the workflow",
    ("why", "CONFIG"): "is no file",
    ("diff", "A"): "is no archive and no run",
    ("reproduce", "ARCHIVE"): "is no file",
}


GIVEN = (
    re.search(r"^GIVEN := (.*?[^\\])$", MAKEFILE, re.MULTILINE | re.DOTALL)[1]
    .replace("\\\n", " ")
    .split()
)


def make(target, **given):
    words = [
        "make",
        "--no-print-directory",
        target,
        *[f"{name}={text}" for name, text in given.items()],
    ]
    # under another make its own variables are in the environment
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("MAKE") and name not in GIVEN
    }
    return subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def test_no_recipe_expands_what_was_given():
    assert {"EXPORT", "DATA", "ID", "USER", "PYTHON"} < set(GIVEN)
    recipes = "\n".join(line for line in MAKEFILE.splitlines() if line.startswith("\t"))
    for name in GIVEN:
        assert not re.search(rf"\$[({{]{name}[)}}]", recipes), name
    # and everything that a target's help names is among them
    assert set(re.findall(r"\b([A-Z_]{2,})=", "\n".join(re.findall("## (.*)", MAKEFILE)))) <= {
        *GIVEN,
        "STORE",
    }


CASES = [("verify", "EXPORT", text) for text in HOSTILE]
CASES += [(target, name, "".join(HOSTILE[:4])) for target, name in SAID]


@pytest.mark.parametrize(("target", "name", "text"), CASES, ids=range(len(CASES)))
def test_what_is_given_is_only_text(target, name, text, tmp_path):
    mark = tmp_path / "ran"
    given = text.format(mark=mark)
    if target == "dashboard" and not list(
        Path(os.environ.get("MINDTUNE_VENVS", ROOT / ".snakemake/venvs")).glob("dashboard-*/READY")
    ):
        pytest.skip("the dashboard's environment is not built")
    done = make(target, **{name: given})
    assert not mark.exists()
    if SAID[target, name]:
        assert done.returncode and SAID[target, name] in done.stderr, done.stderr
        assert given.splitlines()[0] in done.stderr.replace("\\\\", "\\"), done.stderr


def test_text_from_the_environment_is_only_text(tmp_path):
    mark = tmp_path / "ran"
    environment = {
        **os.environ,
        "EXPORT": f"$(shell touch {mark})x'y",
        "PUBLIC_KEY": "",
        "EXPECT": "",
    }
    done = subprocess.run(
        ["make", "verify"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert not mark.exists() and f"$(shell touch {mark})x'y is not a folder" in done.stderr


def test_a_sub_make_is_given_text(tmp_path):
    mark = tmp_path / "ran"
    shutil.copy(ROOT / "Makefile", tmp_path)
    with (tmp_path / "Makefile").open("a", encoding="utf-8") as stream:
        stream.write('\nouter: \n\t@$(MAKE) inner\ninner:\n\t@printf "%s" "$$SEED"\n')
    text = f"'$(shell touch {mark})\""
    done = subprocess.run(
        ["make", "--no-print-directory", "outer", f"SEED={text}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == text and not mark.exists()


def test_a_folder_in_chinese_is_read_in_every_locale(tmp_path):
    """In a Chinese locale before UTF-8, Python alone takes the name of such a folder for GBK."""
    compiled = ["localedef", "-i", "zh_CN", "-f", "GBK", tmp_path / "zh_CN.GBK"]
    if not shutil.which("localedef") or subprocess.run(compiled, capture_output=True).returncode:
        pytest.skip("localedef cannot make a locale here")
    folder = tmp_path / "心语"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    program = "import os, sys; print(os.getcwd(), sys.flags.utf8_mode)"
    with (folder / "Makefile").open("a", encoding="utf-8") as stream:
        stream.write(f"\nprobe:\n\t@{sys.executable} -c '{program}'\n")
    locale = {"PATH": os.environ["PATH"], "LOCPATH": str(tmp_path), "LC_ALL": "zh_CN.GBK"}
    words = ["make", "--no-print-directory", "probe"]
    done = subprocess.run(words, cwd=folder, capture_output=True, env=locale)
    assert done.stdout == f"{folder} 1\n".encode(), done.stderr


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_program_starts_by_its_path(program):
    """A test that imports a module finds it by pytest's paths; whoever types its path does not."""
    python = sys.executable if PROGRAMS[program] == "driver" else interpreter("core")
    done = subprocess.run([python, program, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr
