"""Whether a program is still the one that its start knew.

A start writes the hashes of its programs into a file (mindtune.start) and names that file to its
jobs. A program that was edited while its job waited would make results that Snakemake records
under the old code, so it stops before it does anything.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from mindtune.cli import UserError
from mindtune.code import changed

VARIABLE = "MINDTUNE_START"


def read_start(path: str | Path) -> dict[str, Any]:
    """What a start wrote for its jobs; one sentence if it is gone or torn."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is gone, where the start of this job keeps what its jobs are to do; "
            "wait until no job of that start runs, then start again"
        ) from None
    except ValueError as error:
        raise UserError(f"{path} is not whole JSON ({error}); delete it and start again") from None


def check_program() -> None:
    """Compare the running program, its modules and what it loads by name with what the start of
    its job found.
    """
    path = os.environ.get(VARIABLE)
    program = Path(getattr(sys.modules["__main__"], "__file__", None) or "").name
    if path:
        refuse_changed(changed(read_start(path)["programs"].get(program, {})), "scripts/")


def refuse_changed(names: Any, folder: str) -> None:
    """One sentence for the first of the files that changed since the start; nothing if there is
    none.
    """
    for name in names:
        raise UserError(
            f"{os.path.normpath(folder + name)} changed since the start of this job, which is "
            f"recorded with the earlier text; "
            "start again to run it as it is now, or put it back first"
        )
