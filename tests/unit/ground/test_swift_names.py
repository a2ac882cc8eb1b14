"""The names that the configuration lets through are those of the ms-swift that is pinned."""

from mindtune.environments import ROOT
from mindtune.records import read_json
from tools.list_swift_names import swift_names


def test_the_list_is_that_of_the_installed_version():
    advice = (
        "ms-swift's pin changed: run scripts/tools/list_swift_names.py in the train environment"
    )
    assert read_json(ROOT / "config/ms-swift.json") == swift_names(), advice
