"""Put scripts/ on the import path, as running a program from scripts/ does, and
tests/unit/builders/ for what builds models.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [
    str(TESTS.parent / "scripts"),
    str(TESTS.parent / "scripts/deploy"),
    str(TESTS / "unit"),
    str(TESTS / "unit/builders"),
    # tools' tests take rows and calls from those of the data
    str(TESTS / "unit/data"),
]
