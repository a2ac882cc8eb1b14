"""Run LMDeploy's own command line with the API key from the file that MINDTUNE_API_KEY_FILE names.

LMDeploy 0.18 takes keys only as `--api-keys KEY`, where `ps` shows them to everybody on the
machine. This adds the key to Python's argument list once the process runs, which leaves the
command line that the system shows as it was.
"""

import os
import sys
from pathlib import Path

KEY_VARIABLE = "MINDTUNE_API_KEY_FILE"


def no_remote_code() -> None:
    """Off and without a flag that switches it on, whatever LMDeploy's default becomes. Before its
    parsers are made.
    """
    from lmdeploy.cli.utils import ArgumentHelper

    ArgumentHelper.trust_remote_code = staticmethod(
        lambda parser: parser.set_defaults(trust_remote_code=False)
    )


def main() -> None:
    from lmdeploy.cli import run

    no_remote_code()
    key = Path(os.environ[KEY_VARIABLE]).read_text(encoding="ascii").strip()
    sys.argv = ["lmdeploy", *sys.argv[1:], "--api-keys", key]
    run()


if __name__ == "__main__":
    main()
