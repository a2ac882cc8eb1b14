"""Judgings by a scripted judge, in a folder of their own, for measurements."""

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mindtune.environments import ROOT, venv_name, venvs_folder
from mindtune.records import write_jsonl

SCRIPTS = Path(__file__).resolve().parents[1]
PYTHON = f"{venvs_folder()}/{venv_name('judge', on_gpu=False)}/bin/python"
JUDGE = {
    "path": None, "model": "scripted", "key_file": None, "family": None, "max_tokens": 300,
    "input_price": 2.0, "output_price": 6.0,
}  # fmt: skip
LIMITS = {"max_items": None, "pairs": True, "budget": None, "timeout_s": 60, "patience_s": 60}


def write_replies(folder: Path, count: int) -> None:
    """Replies of base and tuned, three turns a dialogue."""
    for model in ("base", "tuned"):
        write_jsonl(
            folder / f"{model}.jsonl",
            (
                {
                    "id": f"d{k // 3}#{k % 3}",
                    "dialogue": f"d{k // 3}",
                    "prompt": [{"role": "user", "content": f"我最近睡不着，第{k}天了。" * 8}],
                    "reference": "嗯。",
                    "reply": f"听起来你很累（{model}{k}），能多说一点吗？" * 8,
                    "finish_reason": "stop",
                }
                for k in range(count)
            ),
        )


@contextmanager
def server(folder: Path, *more: str) -> Iterator[tuple[str, int]]:
    """A scripted judge; its address and process id."""
    port = folder / f"port-{time.monotonic_ns()}"
    words = [PYTHON, SCRIPTS / "bench/scripted_judge.py", "--port-file", port, *more]
    process = subprocess.Popen([str(word) for word in words], cwd=folder)
    try:
        while not port.exists() or not port.read_text():
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port.read_text()}/v1", process.pid
    finally:
        process.terminate()
        process.wait()


def forks(folder: Path, url: str, kills: int, state: str, concurrency: int = 8) -> dict[str, Any]:
    """Judge what lies in the folder, killed so often; what judge_forks.py prints."""
    places = {
        f"{model}.jsonl": {"dataset": "d", "run": name, "suite": "dialogue"}
        for model, name in (("base", ""), ("tuned", "main"))
    }
    words = [
        "--judges", json.dumps({"a": JUDGE | {"base_url": url}}),
        "--settings", json.dumps(LIMITS | {"concurrency": concurrency}),
        "--rubrics", str(ROOT / "config/rubrics/empathy.yaml"), "--root", str(ROOT),
        "--replies", json.dumps(places), "--state", state, "--answers", f"{state}.jsonl",
        "--record", f"{state}.json", "--log", "server.log",
    ]  # fmt: skip
    program = [PYTHON, str(SCRIPTS / "bench/judge_forks.py"), "--kills", str(kills)]
    program += ["--most", "5000"]  # so that 100 kills fit into 1,000 requests
    done = subprocess.run(
        [*program, "--", *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def items_hash(folder: Path, state: str) -> str:
    """SHA-256 of the item scores that come of a judging."""
    words = [
        sys.executable, SCRIPTS / "score_judged.py", "--answers", f"{state}.jsonl",
        "--rubric", ROOT / "config/rubrics/empathy.yaml", "--root", ROOT, "--run", "main",
        "--dataset", "d", "--items", f"{state}.parquet", "--scores", f"{state}-scores.json",
    ]  # fmt: skip
    subprocess.run([str(word) for word in words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return hashlib.sha256((folder / f"{state}.parquet").read_bytes()).hexdigest()


def paid(folder: Path, bill: str) -> dict[str, int]:
    """Answers on a bill, and how many of them are there a second time."""
    lines = Counter((folder / bill).read_text().split())
    return {"paid": sum(lines.values()), "paid twice": sum(lines.values()) - len(lines)}
