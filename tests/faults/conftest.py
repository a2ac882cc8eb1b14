"""Make `chain` importable."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from training import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A small model and a cached data set, for trainings."""
    return prepare(tmp_path_factory.mktemp("prepared"))
