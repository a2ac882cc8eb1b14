"""SECURITY.md promises nothing that no test holds: every row names test files that are there."""

import re

from planning import ROOT


def test_every_promise_names_tests_that_exist():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    part = text.split("## What is promised")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in part.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"[\w/.-]*test_\w+\.py", row[-1])
        assert named, row[0]
        for name in named:
            path = ROOT / name if "/" in name else next((ROOT / "tests").rglob(name), None)
            assert path and path.is_file(), f"{name} of the promise {row[0]!r}"
            assert "def test_" in path.read_text(encoding="utf-8")
