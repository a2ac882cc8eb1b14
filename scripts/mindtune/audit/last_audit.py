"""What the last `make audit` found, as a small page of its own that the report and the lineage page
show.

It lies in state/, in no record: an audit that wrote into results/ would change what it looks at.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from mindtune.audit.folder import WRONG, Finding
from mindtune.records import write_text

PAGE = Path("state/audit.html")
# In a page of results/report/; without the file beside it a browser shows what stands inside
BESIDE = (
    f'<object data="../../{PAGE.as_posix()}" type="text/html" aria-label="The last make audit">'
    "No audit lies beside this page: <code>make audit</code> compares every file with its record "
    f"and writes {PAGE.as_posix()} in the working directory.</object>"
)
STYLE = (
    ":root { color-scheme: light dark; } body { margin: 0; font: 15px/1.5 system-ui, sans-serif; } "
    "p { margin: 0; overflow-wrap: anywhere; } .wrong { color: #c62828; font-weight: 600; } "
    "@media (prefers-color-scheme: dark) { body { color: #e4eaef; } .wrong { color: #ff8a80; } }"
)


def sentence(findings: Iterable[Finding], when: datetime, quick: bool) -> str:
    """When an audit was done and what it found, in words."""
    findings = list(findings)
    count = Counter(finding.status for finding in findings)
    counted = ", ".join(f"{number:,} {status}" for status, number in sorted(count.items()))
    wrong = [finding for finding in findings if finding.status in WRONG]
    first = f"; {wrong[0].path} is the first that is not as recorded" if wrong else ""
    how = ", by sizes and times" if quick else ""
    return f"make audit was last done on {when:%Y-%m-%d %H:%M} UTC{how}: {counted}{first}."


def write_last_audit(findings: Iterable[Finding], quick: bool) -> None:
    """Write the page of an audit that was done just now."""
    findings = list(findings)
    kind = ' class="wrong"' if any(finding.status in WRONG for finding in findings) else ""
    said = escape(sentence(findings, datetime.now(UTC), quick))
    write_text(
        PAGE,
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>The last make audit</title>\n<style>{STYLE}</style>\n"
        f"<p{kind}>{said}</p>\n</html>\n",
    )
