"""The recipes of docs/change.md work as they stand: a copy of the project is edited by them."""

import re
import shutil
import subprocess
import sys

import pytest
from mindtune.environments import venv_name, venvs_folder
from planning import ROOT

# as it is before a test of the plan names a folder of empty environments
VENVS = venvs_folder()
PAGE = (ROOT / "docs/change.md").read_text(encoding="utf-8")
EDIT = re.compile(r"```\w+\n# (\S+), (before|after) ([^\n]+)\n(.*?)```", re.S)
TRY = """
from mindtune.data.rejections import CONTENT_REJECTIONS
advert = dict(CONTENT_REJECTIONS)["advert"]
for turn, wanted in (("今日特价，加我微信领取。", True), ("说说你今天的感受。", False)):
    assert advert(None, [("human", "我很累。"), ("gpt", turn)], "我很累。" + turn) is wanted
"""


def recipe(title):
    """The text of one recipe."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)[1]


@pytest.fixture
def project(tmp_path):
    for name in ("scripts", "config", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_cleaning_rule_is_what_the_recipe_adds(project):
    edits = EDIT.findall(recipe("A cleaning rule"))
    assert len(edits) == 3
    for name, place, mark, text in edits:
        lines = (project / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (at,) = [number for number, line in enumerate(lines) if line.strip().startswith(mark)]
        lines.insert(at + (place == "after"), text)
        (project / name).write_text("".join(lines), encoding="utf-8")
    core = f"{VENVS}/{venv_name('core', on_gpu=False)}/bin/python"
    subprocess.run([core, "-c", TRY], cwd=project / "scripts", check=True)
    subprocess.run([sys.executable, project / "scripts/tools/write_docs.py"], check=True)
    assert "`data.clean.steps.advert`" in (project / "config/README.md").read_text(encoding="utf-8")


def test_the_other_recipes_name_files_that_are_there():
    for title in ("Another base model", "Another trainer"):
        text = recipe(title)
        named = set(re.findall(r"`((?:scripts|config|tests|mindtune)/[\w./]+)`", text))
        assert len(named) >= 3
        for name in named - {"scripts/train_mine.py"}:
            path = ROOT / ("scripts/" + name if name.startswith("mindtune/") else name)
            assert path.exists(), f"{title}: {name}"
        assert len(text.splitlines()) <= 40, "more than a screen"
