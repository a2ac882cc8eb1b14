"""Run LMDeploy's own command line with the API key from the file that MINDTUNE_API_KEY_FILE names.

LMDeploy 0.18 takes keys only as `--api-keys KEY`, where `ps` shows them to everybody on the
machine. This adds the key to Python's argument list once the process runs, which leaves the
command line that the system shows as it was. Before LMDeploy's application stand the proof of the
key, which it asks for on every path but /health, and a limit for bodies, which it has not.
"""

import os
import sys
from pathlib import Path
from typing import Any

# last on the path: our programs have names that a library's module may have
sys.path.append(str(Path(__file__).resolve().parents[2]))

from mindtune.serve.guards import LimitBody, Prove, RequireKey, body_limit

KEY_VARIABLE = "MINDTUNE_API_KEY_FILE"


def no_remote_code() -> None:
    """Off and without a flag that switches it on, whatever LMDeploy's default becomes. Before its
    parsers are made.
    """
    from lmdeploy.cli.utils import ArgumentHelper

    ArgumentHelper.trust_remote_code = staticmethod(
        lambda parser: parser.set_defaults(trust_remote_code=False)
    )


def guard(key: str, session_len: int) -> None:
    """From now on uvicorn runs every application behind our guards."""
    import uvicorn

    run = uvicorn.run

    def guarded(app: Any, **settings: Any) -> None:
        limited = LimitBody(app, body_limit(session_len))
        run(Prove(RequireKey(limited, key), key), **settings)

    uvicorn.run = guarded


def main() -> None:
    from lmdeploy.cli import run

    no_remote_code()
    key = Path(os.environ[KEY_VARIABLE]).read_text(encoding="ascii").strip()
    guard(key, int(sys.argv[sys.argv.index("--session-len") + 1]))
    sys.argv = ["lmdeploy", *sys.argv[1:], "--api-keys", key]
    run()


if __name__ == "__main__":
    main()
