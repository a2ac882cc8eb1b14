"""These tests compare our numbers with other people's code, which is in an environment of its own:
`make test-peers` builds it. Without it they are skipped, and say so.
"""

import site
from pathlib import Path

import pytest
from mindtune.environments import site_packages, venv_name, venvs_folder

PEERS = Path(venvs_folder(), venv_name("peers", on_gpu=False))

if (PEERS / "READY").is_file():
    site.addsitedir(site_packages(str(PEERS)))
else:

    def pytest_collection_modifyitems(items):
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(f"{PEERS} is not built: make test-peers"))
