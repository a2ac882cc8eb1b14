"""docs/measurements.md is for a reader: each record has a sentence with its figure and a table
that fits a screen, and series stay in the records.
"""

import re

import pytest
from mindtune.records import read_json
from tools.measurement_pages import PAGES
from tools.write_measurements import HEAD, ROOT, section

RECORDS = {
    path.relative_to(ROOT).as_posix(): record
    for path in sorted((ROOT / "docs").glob("*/*.json"))
    if "what" in (record := read_json(path))
}
UNKNOWN = {
    "what": "something new",
    "command": "make new --with many --words",
    "date": "2026-01-01",
    "machine": {"cpu": "a processor"},
    "note": "It took 7 s. More follows.",
    "runs": [{"name": "a", "seconds": 7.0, "losses": [1.0] * 50, "sha256": "0" * 64}],
    "target": {"seconds": 9},
    "median": {"seconds": 7.0},
    "met": {"seconds": False},
}


def test_every_page_is_of_a_record():
    assert PAGES.keys() <= RECORDS.keys()


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_a_section_has_a_figure_and_no_series(name):
    text = section(name, RECORDS[name])
    title, headline = text.split("\n\n")[:2]
    assert title.startswith("## ") and re.search(r"\d", headline)
    assert max(map(len, text.splitlines())) <= 180
    assert not re.search(r"[0-9a-f]{64}|(\d[\d.]*, ){5}", text)
    assert name.removeprefix("docs/") in text


def test_the_page_is_what_the_records_say():
    text = (ROOT / "docs/measurements.md").read_text(encoding="utf-8")
    assert text == HEAD + "\n" + "\n".join(section(*item) for item in written_order())


def written_order():
    """Records in the page's order: by path."""
    return sorted(RECORDS.items())


def test_a_record_without_a_page_is_shown_by_its_plain_columns():
    text = section("docs/records/new.json", UNKNOWN)
    assert "## Something new" in text and "**It took 7 s.**" in text
    assert "| name | seconds |" in text and "| seconds | 7 | 9 | **no** |" in text
    assert "losses" not in text and "--with" not in text
