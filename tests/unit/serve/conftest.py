"""A small model, and the server for a CPU with it."""

from pathlib import Path

import pytest
from engines import ENGINE
from mindtune.serve.engine import serve
from models import build_small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return build_small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    with serve(model, ENGINE, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running
