"""List the architectures and chat templates that the installed ms-swift knows, for the
configuration's check.

Run it in the train environment after its pin of ms-swift was changed; a test compares.

Writes  config/ms-swift.json
"""

import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from mindtune.cli import run
from mindtune.environments import ROOT
from mindtune.records import write_json


def swift_names() -> dict[str, str | list[str]]:
    """The version of ms-swift, and the names that model.type and model.template may have."""
    from swift.model import MODEL_MAPPING
    from swift.template import TEMPLATE_MAPPING

    return {
        "version": version("ms-swift"),
        "type": sorted(str(name) for name in MODEL_MAPPING),
        "template": sorted(str(name) for name in TEMPLATE_MAPPING),
    }


def main() -> None:
    write_json(ROOT / "config/ms-swift.json", swift_names())


if __name__ == "__main__":
    raise SystemExit(run(main))
