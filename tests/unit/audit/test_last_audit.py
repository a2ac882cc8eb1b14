"""The small page of the last audit, which the report and the lineage page show."""

from datetime import UTC, datetime
from pathlib import Path

from mindtune.audit import last_audit
from mindtune.audit.folder import AS_RECORDED, CHANGED, Finding

EVIL = "</script><img src=x onerror=alert('坏')>\"'"


def test_the_last_audit_says_when_and_what():
    when = datetime(2026, 11, 28, 9, 5, tzinfo=UTC)
    good = [Finding("a", AS_RECORDED), Finding("b", AS_RECORDED)]
    said = last_audit.sentence(good, when, quick=False)
    assert said == "make audit was last done on 2026-11-28 09:05 UTC: 2 as recorded."
    said = last_audit.sentence([*good, Finding(EVIL, CHANGED)], when, quick=True)
    assert ", by sizes and times: 2 as recorded, 1 changed; " in said and EVIL in said


def test_the_page_of_the_last_audit_is_text_alone(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    last_audit.write_last_audit([Finding(EVIL, CHANGED)], quick=False)
    page = last_audit.PAGE.read_text(encoding="utf-8")
    assert "<img" not in page and "<script" not in page and '<p class="wrong">' in page
    last_audit.write_last_audit([Finding("a", AS_RECORDED)], quick=False)
    assert "class=" not in last_audit.PAGE.read_text(encoding="utf-8")
