"""Work in several processes: the order and the results are those of one, and what ends a process
is said.
"""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.data.lines import Lines
from mindtune.processes import in_order

SENTENCES = ["我最近总是失眠", "我们一起看看原因", "", "你愿意多说一点吗？"] * 50


def length(extra, text):
    if text == "坏":
        raise UserError("这一行是坏的")
    if text == "死":
        os.kill(os.getpid(), signal.SIGKILL)
    return len(text) + extra


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_order_for_any_number_of_processes(threads):
    found = in_order(lambda: partial(length, 1), iter(SENTENCES), threads)
    assert list(found) == [(text, len(text) + 1) for text in SENTENCES]
    assert list(in_order(lambda: len, [], threads)) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_a_piece_is_the_error_of_the_work(threads):
    with pytest.raises(UserError, match="这一行是坏的"):
        list(in_order(lambda: partial(length, 0), ["好", "坏", "好"], threads))


def test_a_killed_process_is_said():
    with pytest.raises(UserError, match="fewer --threads"):
        list(in_order(lambda: partial(length, 0), ["好", "死", "好"], 2))


WAITING = """
import os, time
from mindtune.processes import in_order

def work(piece):
    time.sleep(0.1)
    return os.getpid()

for _, pid in in_order(lambda: work, range(10000), 2):
    print(pid, flush=True)
"""


def test_processes_end_with_a_parent_that_is_killed():
    scripts = Path(__file__).parents[3] / "scripts"
    words = [sys.executable, "-c", WAITING]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(scripts)}
    ) as parent:
        workers = {int(parent.stdout.readline()) for _ in range(8)}
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(
        Path(f"/proc/{pid}/cmdline").exists()
        and WAITING in Path(f"/proc/{pid}/cmdline").read_text()
        for pid in workers
    ):
        assert time.monotonic() < deadline, f"{workers} outlive their parent"
        time.sleep(0.05)


def test_lines_are_read_by_number(tmp_path):
    path = tmp_path / "行.jsonl"
    path.write_bytes('{"a":"第一\u2028行"}\n{"a":"二\\n行"}\n{"a":3}'.encode())
    lines = Lines(path)
    assert len(lines) == 3 and [lines.row(number)["a"] for number in (2, 0, 1)] == [
        3,
        "第一\u2028行",
        "二\n行",
    ]
    assert b"".join(map(lines.raw, range(3))) == path.read_bytes()
    assert list(in_order(lambda: lines.row, [1, 2], 2)) == [(1, {"a": "二\n行"}), (2, {"a": 3})]


def test_pieces_hold_every_line_once(tmp_path, monkeypatch):
    monkeypatch.setattr("mindtune.data.lines.PIECE_BYTES", 2000)
    path = tmp_path / "行.jsonl"
    path.write_text(
        "".join(f'"{"长" * (number % 7 * 100)}"\n' for number in range(1234)), encoding="utf-8"
    )
    pieces = list(Lines(path).pieces())
    assert [number for piece in pieces for number in piece] == list(range(1234)) and len(
        pieces
    ) > 300
    path.write_text("1\n" * 1234)
    assert [len(piece) for piece in Lines(path).pieces()] == [400, 400, 400, 34]
    path.write_text("")
    assert list(Lines(path).pieces()) == []


def test_a_torn_line_is_named(tmp_path):
    path = tmp_path / "clean.jsonl"
    path.write_text('{"a":1}\n{"a":', encoding="utf-8")
    with pytest.raises(UserError, match=r"clean.jsonl line 2 is not JSON"):
        Lines(path).row(1)
