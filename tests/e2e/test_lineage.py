"""The demo's lineage page in a real browser: what it answers, in how many clicks, for whom."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from bench.browser import Unavailable, opened  # noqa: E402
from mindtune.audit.packing import unpack  # noqa: E402

HEADING = "document.querySelector('#panel h2').textContent"
PANEL = "document.querySelector('#panel').textContent"
FOCUSED = "document.activeElement.getAttribute('aria-label')"


@pytest.fixture(scope="module")
def lineage(demo):
    return demo.results / "report/lineage.html"


@pytest.fixture(scope="module")
def data(lineage):
    return unpack(lineage.read_text(encoding="utf-8"))


@pytest.fixture
def page(lineage):
    """The page, open in a window of a desk; it may ask for nothing but itself and the audit."""
    try:
        with opened() as page:
            page.look(1400, 900)
            page.open(lineage, "[data-ready]")
            yield page
            audit = "/state/audit.html"
            assert all(url.endswith(("/lineage.html", audit)) for url in page.asked), page.asked
            assert [text for text in page.said if "ERR_FILE_NOT_FOUND" not in text] == []
    except Unavailable as reason:
        warnings.warn(f"NO TEST RAN IN A BROWSER: {reason}", stacklevel=1)
        pytest.skip(f"no browser: {reason}")


def hashes_of(data):
    """{path: SHA-256} of the page's files."""
    return dict(zip(data["files"], data["hashes"].split(","), strict=True))


def test_every_job_says_what_the_records_say(demo, data):
    jobs = {(job["rule"], job.get("about")): job for job in data["jobs"]}
    record = json.loads((demo.results / "runs/main/train_lora.json").read_text(encoding="utf-8"))
    train = jobs["train_lora", "main"]
    assert dict(data["environments"][train["environment"]]) == record["env"]
    settings = dict(data["settings"][train["settings"]])
    assert settings["learning_rate"] == "0.001"
    hashes = hashes_of(data)
    assert all(hashes[path] == digest for path, digest in record["outputs"].items())
    assert train["seconds"] > 1 and "--run {run}" in data["commands"][train["command"]]
    log = (demo.work / train["log"]).read_text(encoding="utf-8", errors="replace")
    assert train["tail"] and str(demo.work) in log and str(demo.work) not in json.dumps(data)
    assert {job["rule"] for job in data["jobs"] if "record" not in job} <= {"all", "draw_lineage"}


def test_a_number_leads_to_the_raw_data_in_two_clicks(page, data):
    page.click("#to-numbers")
    page.click("#numbers td button")
    assert page.ask(HEADING) == "Where does this number come from?"
    said = page.ask(PANEL)
    raw = hashes_of(data)["results/data/demo/raw"]
    assert "results/data/demo/raw" in said and len(raw) == 64 and raw in said
    shown = page.ask("[...document.querySelectorAll('[data-rule]')].map(e => e.dataset.rule)")
    assert {"fetch_dataset", "train_lora"} <= set(shown)
    assert {"score_dialogue", "score_suite"} & set(shown)
    assert not {"write_report", "publish_export", "verify_serving", "all"} & set(shown)


def test_a_wrong_file_names_what_follows_in_two_clicks(page, data):
    page.click('[data-rule="pack_stats"]')
    page.click("#panel .ask")
    assert page.ask(HEADING).startswith("What if results/runs/main/figures/fill.svg were wrong?")
    shown = page.ask("[...document.querySelectorAll('[data-rule]')].map(e => e.dataset.rule)")
    assert set(shown) == {"write_report", "draw_lineage", "all"}
    assert f"3 jobs of {len(data['jobs'])} read it" in page.ask(PANEL)
    page.ask("location.hash = 'wrong=' + encodeURIComponent('results/runs/seed43/adapter')")
    page.settle()
    said = page.ask(PANEL)
    of = re.search(r"and the numbers of (\d+) of (\d+) evaluations", said)
    assert of and 0 < 2 * int(of[1]) == int(of[2]), said[:400]  # one of two runs


def test_the_keyboard_goes_everywhere(page):
    page.ask("document.querySelector('#search').focus()")
    page.press("Tab")
    assert page.ask(FOCUSED).startswith("rule ")
    for _ in range(40):
        if page.ask(FOCUSED).startswith("rule train_lora,"):
            break
        page.press("Tab")
    page.press("Enter")
    assert page.ask("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.press("ArrowDown")
    assert page.ask(FOCUSED) == "job train_lora main"
    page.press("Enter")
    assert page.ask(HEADING) == "train_lora main"
    assert page.ask("document.activeElement.tagName") == "H2", "a reader is told what is shown"
    page.press("Escape")
    assert page.ask(FOCUSED).startswith("rule train_lora,")
    page.press("ArrowUp")
    assert page.ask(FOCUSED).startswith("rule ") and "train_lora" not in page.ask(FOCUSED)


def test_the_list_has_all_that_the_picture_has(page, data):
    page.click("#to-list")
    page.ask("document.querySelectorAll('#list details').forEach(part => part.open = true)")
    page.settle()
    listed = page.ask("[...document.querySelectorAll('#list .link')].map(e => e.textContent)")
    wanted = [" ".join([job["rule"], job.get("about", "")]).strip() for job in data["jobs"]]
    assert sorted(listed) == sorted(wanted)
    named = page.ask("[...document.querySelectorAll('button, [role=button], select, input')]"
                     ".filter(e => !(e.textContent || e.getAttribute('aria-label') || e.labels"
                     "?.length)).length")  # fmt: skip
    assert named == 0, "everything that can be pressed has a name"


def test_a_file_is_found_by_its_name_and_the_address_brings_it_back(page, lineage):
    page.ask("(s => { s.value = 'SCORES/crisis'; s.dispatchEvent(new Event('input')); })"
             "(document.querySelector('#search'))")  # fmt: skip
    page.click("#found .link")
    assert page.ask(HEADING) == "results/runs/main/scores/crisis.json"
    assert page.ask("location.hash") == "#file%3Dresults%2Fruns%2Fmain%2Fscores%2Fcrisis.json"
    page.ask("history.back()")
    page.settle()
    assert page.ask(HEADING) == "How to read this"


def test_nothing_runs_over_the_edge_of_any_screen(page):
    for width in (360, 800, 1600):
        for dark in (False, True):
            page.look(width, 900, dark)
            page.settle()
            assert page.ask("document.documentElement.scrollWidth") <= width
            ink, paper = page.ask(
                "[getComputedStyle(document.body).color,"
                " getComputedStyle(document.querySelector('aside')).backgroundColor]"
            )
            bright = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
            assert (bright[0] > bright[1]) == dark and abs(bright[0] - bright[1]) > 400


def test_both_pages_show_the_last_audit(demo, page):
    command = [sys.executable, str(ROOT / "scripts/tools/audit.py"), "--workdir", str(demo.work)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("lineage.html", "report.html"):
        page.call("Page.navigate", url="about:blank")
        page.open(demo.results / "report" / name, "object")
        page.settle()
        [frame] = page.call("Page.getFrameTree")["frameTree"]["childFrames"]
        world = page.call("Page.createIsolatedWorld", frameId=frame["frame"]["id"])
        said = page.call(
            "Runtime.evaluate",
            expression="document.body.textContent",
            contextId=world["executionContextId"],
        )["result"]["value"]
        assert "make audit was last done on 20" in said and "as recorded" in said
    page.asked = [url for url in page.asked if not url.endswith(("report.html", ":blank"))]
