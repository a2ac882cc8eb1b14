"""The page of raters in a real browser: at three widths, in both languages, and the whole way from
what is typed to what score_raters reads.
"""

import csv
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/unit/builders")]

from bench.browser import Unavailable, find, opened  # noqa: E402
from mindtune.environments import venv_name, venvs_folder  # noqa: E402
from mindtune.records import read_json  # noqa: E402
from rated import HOSTILE, rated_run  # noqa: E402

WIDTHS = (360, 768, 1280)
CHOOSE = (
    "document.getElementById('rater').value = '{}';"
    "document.getElementById('rater').dispatchEvent(new Event('change'))"
)
# Answer what is shown: the first reply's questions yes, the second one's no
ANSWER = """
document.querySelectorAll('section').forEach((section, side) =>
  section.querySelectorAll('fieldset').forEach((one) =>
    one.querySelectorAll('input')[side].click()))
"""
# Elements that stick out, texts cut off, and touch targets under 44 px
LAYOUT = """
JSON.stringify({
  wide: document.documentElement.scrollWidth > window.innerWidth,
  small: [...document.querySelectorAll('button, select, .choices label')]
    .filter((one) => one.offsetParent && one.getBoundingClientRect().height < 44).length,
  unnamed: [...document.querySelectorAll('fieldset')]
    .filter((one) => !one.querySelector('legend').textContent.trim()).length,
  columns: getComputedStyle(document.getElementById('sides')).gridTemplateColumns.split(' ').length,
  empty: [...document.querySelectorAll('[data-word]')].filter((one) => !one.textContent).length,
})
"""


def core(program, *flags, cwd=None):
    """Run a program in the environment core."""
    python = f"{venvs_folder()}/{venv_name('core', on_gpu=False)}/bin/python"
    done = subprocess.run(
        [python, ROOT / "scripts" / program, *flags], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    try:
        find()
    except Unavailable as reason:
        warnings.warn(f"the page of raters was NOT checked: {reason}", stacklevel=1)
        pytest.skip(f"no browser: {reason}")
    folder = rated_run(tmp_path_factory.mktemp("page"), dialogues=len(HOSTILE), turns=1)
    core(
        "tools/blind_sheet.py", "--workdir", folder, "--run", "main",
        "--rubrics", "empathy", "practicality", "--seed", "7", "--raters", "2",
    )  # fmt: skip
    return folder


@pytest.fixture
def page():
    with opened() as found:
        yield found


def sheet(work):
    return work / "results/raters/main/send/sheet.html"


def show(page, work, width):
    """Open the page in a window of this width, a phone's if it is narrow."""
    page.look(width, 900, mobile=width < 600)
    page.open(sheet(work), "#rater")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_speaks_both_languages(work, page, width):
    show(page, work, width)
    page.ask(CHOOSE.format("r1"))
    for language in ("zh", "en"):
        page.ask(f"language = '{language}'; show()")
        found = json.loads(page.ask(LAYOUT))
        assert found == {
            "wide": False,
            "small": 0,
            "unnamed": 0,
            "columns": 2 if width >= 900 else 1,
            "empty": 0,
        }
        title = page.ask("document.title")
        assert title == {"zh": "回复评分", "en": "Rate the replies"}[language]
        legend = page.ask("document.querySelector('legend').textContent")
        assert ("是否" in legend) == (language == "zh")
    assert page.asked == [sheet(work).as_uri()] and page.said == []


def test_replies_are_shown_as_text(work, page):
    show(page, work, 768)
    page.ask(CHOOSE.format("r1"))
    shown = []
    for place in range(len(HOSTILE)):
        page.ask(f"go({place})")
        texts = "[...document.querySelectorAll('section .text')].map((one) => one.textContent)"
        shown += page.ask(texts)
    key = read_json(work / "results/raters/main/key.json")
    assert shown == [row["reply"] for row in key["seen"]["rows"]]
    assert page.ask("document.querySelectorAll('img').length") == 0
    assert page.ask("document.title") != "taken"
    assert page.asked == [sheet(work).as_uri()]


def test_what_was_typed_is_there_again(work, tmp_path):
    """After the browser was closed, for this rater and no other."""
    with opened(tmp_path / "profile") as page:
        show(page, work, 360)
        page.ask(CHOOSE.format("r1"))
        page.ask("go(3)")
        page.ask(ANSWER)
        before = page.ask("openAnswers()")
    with opened(tmp_path / "profile") as page:
        show(page, work, 360)
        page.ask(CHOOSE.format("r1"))
        assert (page.ask("openAnswers()"), page.ask("place")) == (before, 3)
        page.ask(CHOOSE.format("r2"))
        every = page.ask("sheet.rows.reduce((sum, row) => sum + row.asked.length, 0)")
        assert page.ask("openAnswers()") == every > before


def rate(page, work, rater, folder):
    """Rate everything as one rater, and return the file that the page exports."""
    folder.mkdir()
    show(page, work, 360)
    page.ask(CHOOSE.format(rater))
    for place in range(len(HOSTILE)):
        page.ask(f"go({place})")
        page.ask(ANSWER)
    page.ask("keep('P001A', 'note', '=1+1，\"好\"')")
    assert page.ask("openAnswers()") == 0
    return page.download("document.getElementById('save').click()", folder)


def test_the_whole_way_from_the_page_to_the_table(work, page, tmp_path):
    back = tmp_path / "back"
    back.mkdir()
    for rater in ("r1", "r2"):
        found = rate(page, work, rater, tmp_path / rater)
        assert (
            found.name == f"{read_json(work / 'results/raters/main/key.json')['sheet']}-{rater}.csv"
        )
        shutil.copy(found, back)
    content = (back / found.name).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf") and b"\r\n" in content
    with open(back / found.name, encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["note"] == '\'=1+1，"好"'
    sent = read_json(work / "results/raters/main/key.json")["seen"]["rows"]
    assert [row["reply"].removeprefix("'") for row in rows] == [row["reply"] for row in sent]
    said = core(
        "score_raters.py", "--sheets", back, "--key", "results/raters/main/key.json",
        "--made-by", "results/raters/main/blind_sheet.json", "--csv", "raters.csv",
        "--markdown", "raters.md", "--answers", "raters.jsonl", "--record", "score_raters.json",
        cwd=work,
    )  # fmt: skip
    assert "human-human" in said
    with open(work / "raters.csv", encoding="utf-8") as stream:
        raw = [row for row in csv.DictReader(stream) if row["measure"] == "raw"]
    assert len(raw) == 10 and {row["value"] for row in raw} == {"1.0"}
