"""A model folder in which nothing is wrong, for the tests in the trainer's environment."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    from models import build_small_model

    folder = tmp_path_factory.mktemp("plain") / "基座 model"
    build_small_model(folder)
    return folder
