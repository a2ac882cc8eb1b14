"""A hub on this machine. And property tests draw the same examples every time, so that a green
commit stays green; HYPOTHESIS_PROFILE=search draws new ones.
"""

import os
import threading
from http.server import ThreadingHTTPServer

import pytest
from hub_server import Hub
from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("search", max_examples=20_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
