"""One test cluster a session. Where there can be none the tests say why, loudly, and are
skipped.
"""

import sys
import warnings
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "faults")]

import chain  # noqa: E402
import cluster as slurm  # noqa: E402


@pytest.fixture(scope="session")
def cluster():
    folder = chain.base_folder() / "slurm"
    try:
        slurm.up(folder)
    except slurm.Unavailable as reason:
        warnings.warn(f"NO TEST RAN ON SLURM: {reason}", stacklevel=1)
        pytest.skip(f"no SLURM: {reason}")
    yield folder
    slurm.down(folder)
