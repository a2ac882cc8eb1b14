"""Work done by several processes, with results in the order of the pieces, the same for any number
of processes.
"""

import ctypes
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from mindtune.cli import UserError

Piece, Result = TypeVar("Piece"), TypeVar("Result")
IN_FLIGHT = 2  # pieces a process: enough that none waits for the next, few enough to bound memory
PR_SET_PDEATHSIG = 1  # prctl(2)

_work: Callable


def die_with_parent() -> None:
    """In a process that was forked: be killed when its parent is gone, however that ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _begin(start: Callable[[], Callable]) -> None:
    global _work
    # each holds the other end of its own queue, so it would wait for ever for a parent that was
    # killed
    die_with_parent()
    _work = start()


def _do(piece: Piece) -> Result:
    return _work(piece)


def in_order(
    start: Callable[[], Callable[[Piece], Result]], pieces: Iterable[Piece], threads: int
) -> Iterator[tuple[Piece, Result]]:
    """(piece, result) in the order given, at most a few in flight; one thread means this process.

    Every process calls `start` once for the function that does the work. It is forked: what
    `start` refers to is not copied, and is as it was when the first result was asked for.
    """
    os.environ |= {
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
    }  # the processes share the cores already
    if threads == 1:
        work = start()
        yield from ((piece, work(piece)) for piece in pieces)
        return
    try:
        with ProcessPoolExecutor(threads, get_context("fork"), _begin, (start,)) as pool:
            flying: deque = deque()
            for piece in pieces:
                flying.append((piece, pool.submit(_do, piece)))
                if len(flying) > IN_FLIGHT * threads:
                    done, result = flying.popleft()
                    yield done, result.result()
            while flying:
                done, result = flying.popleft()
                yield done, result.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a process was killed, most likely for want of memory; give fewer --threads"
        ) from error
