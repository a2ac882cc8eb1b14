"""What every program in scripts/ has in common: a user's error is one sentence and exit status
2.
"""

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mindtune import variables

# A write that fails so names no file
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(Exception):
    """Bad input. The message is one sentence: the file, row or key, what was found, what was
    expected, what to do.
    """


def argument_parser(description: str | None, **options: Any) -> argparse.ArgumentParser:
    """A program's argument parser, whose help is the program's docstring as it stands; `options` go
    to argparse.
    """
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, **options
    )


def add_json(parser: argparse.ArgumentParser, flag: str, *keys: str) -> None:
    """Add a required argument: a JSON object with exactly these keys. What they hold, the schema of
    the configuration has checked.
    """
    expected = f"a JSON object with the keys {', '.join(keys)}"

    def read(text: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error})") from None
        wrong = set(keys) ^ set(found) if isinstance(found, dict) else keys
        if wrong:
            raise argparse.ArgumentTypeError(
                f"{text!r} should be {expected}; look at {', '.join(sorted(wrong))}"
            )
        return found

    parser.add_argument(flag, required=True, type=read, help=expected)


def run(main: Callable[[], None]) -> int:
    """Run a program's main and return its exit status: 0, or 2 with one line on stderr after a
    UserError or a file error.

    Of the environment it sees what is listed in mindtune/variables.py.
    """
    from mindtune.unchanged import check_program

    variables.keep_listed(variables.PROGRAMS.get(Path(sys.argv[0]).name, ()))
    os.environ.setdefault("PYTHONUTF8", "1")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", line_buffering=True)
    try:
        check_program()
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None and error.errno not in DISK_IS_FULL:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror}; put that right and run again", file=sys.stderr)
        return 2
    return 0
