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
    # some tests take rows, calls and settings from those of the data and of the trainer
    str(TESTS / "unit/data"),
    str(TESTS / "unit/train"),
]
