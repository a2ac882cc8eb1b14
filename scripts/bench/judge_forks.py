"""Run judge_replies.py again and again in forks of a process that has its libraries imported, and
kill each at a random point but the last. A fork is a real process, whose start takes no seconds.

Everything after `--` is the command line of judge_replies.py. Prints one JSON object.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

import inspect_ai.model  # noqa: F401 - imported once for all forks
import judge_replies
import openai  # noqa: F401
from mindtune.cli import run


def bytes_in(folder: Path) -> int:
    """The size of the stores of a judging."""
    return sum(path.stat().st_size for path in folder.glob("*")) if folder.exists() else 0


def start(words: list[str], output: Path) -> int:
    """Start a judging in a fork; its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with open(output, "ab") as stream:
            for descriptor in (1, 2):
                os.dup2(stream.fileno(), descriptor)
        sys.argv = ["judge_replies.py", *words]
        status = run(judge_replies.main)
    finally:
        sys.stdout.flush()
        os._exit(status)


def killed(child: int, state: Path, more: int) -> bool:
    """Kill a judging once its store has grown by so many bytes; False if it ended before."""
    wanted = bytes_in(state) + more
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if bytes_in(state) >= wanted:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.0005)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=8000, help="bytes until a kill")
    parser.add_argument("--output", type=Path, default=Path("forks.log"))
    parser.add_argument("words", nargs="+", help="-- and the command line of judge_replies.py")
    args = parser.parse_args()
    state = Path(args.words[args.words.index("--state") + 1])
    luck = random.Random(args.seed)
    done = sum(
        killed(start(args.words, args.output), state, luck.randrange(1, args.most))
        for _ in range(args.kills)
    )
    begin = time.monotonic()
    _, status, usage = os.wait4(start(args.words, args.output), 0)
    found = {
        "kills": done,
        "status": os.waitstatus_to_exitcode(status),
        "seconds": round(time.monotonic() - begin, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    raise SystemExit(run(main))
