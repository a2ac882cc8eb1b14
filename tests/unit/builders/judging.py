"""A judging in the working directory: replies of base and tuned, a scripted judge behind a real
HTTP server, and the programs that ask it and score its answers.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mindtune.environments import venv_name, venvs_folder
from mindtune.evaluate.conversation import Turn
from mindtune.evaluate.personas import Persona, Style
from mindtune.evaluate.transcripts import transcript

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"
PYTHON = f"{venvs_folder()}/{venv_name('judge', on_gpu=False)}/bin/python"
JUDGE = {
    "path": None, "model": "scripted", "key_file": None, "family": None, "max_tokens": 300,
    "input_price": 2.0, "output_price": 6.0,
}  # fmt: skip
LIMITS = {
    "max_items": None, "pairs": True, "budget": None, "concurrency": 4, "timeout_s": 20,
    "patience_s": 20,
}  # fmt: skip


def reply(number: int, model: str, text: str = "") -> dict[str, Any]:
    """A row of a replies file; every fourth is English, three turns are one dialogue."""
    chinese = number % 4
    said = f"我最近睡不着，第{number}天了。" if chinese else f"I cannot sleep, day {number}."
    own = (
        f"听起来你很累（{model}{number}）。" if chinese else f"You sound tired ({model} {number})."
    )
    return {
        "id": f"d{number // 3}#{number % 3}",
        "dialogue": f"d{number // 3}",
        "prompt": [
            {"role": "system", "content": "你是咨询师。"},
            {"role": "user", "content": said},
        ],
        "reference": "嗯。",
        "reply": text or own,
        "finish_reason": "stop",
    }


def write_replies(count: int, text: str = "") -> None:
    """base.jsonl and tuned.jsonl in the working directory."""
    for model in ("base", "tuned"):
        rows = (json.dumps(reply(k, model, text), ensure_ascii=False) for k in range(count))
        Path(f"{model}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_talks(count: int, said: str = "我最近睡不着。", same: bool = False) -> None:
    """base.jsonl and tuned.jsonl with so many conversations of three turns, every second English;
    each client begins with `said`.
    """
    for model in ("base", "tuned"):
        rows = [talk(number, said, "base" if same else model) for number in range(count)]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        Path(f"{model}.jsonl").write_text(text, encoding="utf-8")


def talk(number: int, said: str, model: str) -> dict[str, Any]:
    """A row of a transcripts file."""
    lang = "en" if number % 2 else "zh"
    style = Style(2, "...", ("嗯。",))
    persona = Persona(
        f"{lang}_{number}",
        lang,
        "sleep",
        "none",
        "open",
        "...",
        said,
        ("事",),
        "...",
        ("x",),
        style,
    )
    about = {"finish_reason": "stop"}
    turns = [
        Turn(f"{said}（{place}）", f"听起来你很累（{model}{number}，{place}）。", about)
        for place in range(3)
    ]
    return transcript(persona, turns, "turns", "你是咨询师。", {"client": "scripted", "seed": 42})


@contextmanager
def scripted_judge(*arguments: str) -> Iterator[str]:
    """A scripted judge; its base URL."""
    port = Path(f"port-{time.monotonic_ns()}")
    program = [PYTHON, SCRIPTS / "bench/scripted_judge.py", "--port-file", port, *arguments]
    process = subprocess.Popen(program)
    try:
        deadline = time.monotonic() + 60
        while not port.exists() or not port.read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        scheme = "https" if "--certificate" in arguments else "http"
        yield f"{scheme}://127.0.0.1:{port.read_text()}/v1"
    finally:
        process.terminate()
        process.wait()


def judge_command(url: str, rubrics: tuple[str, ...] = ("empathy",), **changes: Any) -> list[Any]:
    """The command line of a judging; `changes` are of judge or limits, or the suite judged."""
    judge = JUDGE | {"base_url": url} | {key: changes[key] for key in JUDGE if key in changes}
    limits = LIMITS | {key: changes[key] for key in LIMITS if key in changes}
    places = {
        f"{model}.jsonl": {"dataset": "d", "run": run, "suite": changes.get("suite", "dialogue")}
        for model, run in (("base", ""), ("tuned", "main"))
    }
    return [
        PYTHON, SCRIPTS / "judge_replies.py", "--judges", json.dumps({"a": judge}),
        "--settings", json.dumps(limits), "--root", ROOT,
        "--rubrics", *(ROOT / f"config/rubrics/{name}.yaml" for name in rubrics),
        "--replies", json.dumps(places), "--tuned", '{"model": "Qwen/Qwen2.5-7B-Instruct"}',
        "--state", "state/judge", "--answers", "answers.jsonl", "--record", "judged.json",
        "--log", "server.log",
    ]  # fmt: skip


def judged(url: str, environment: dict[str, str] | None = None, **changes: Any) -> Any:
    """Run a judging to its end."""
    return subprocess.run(
        judge_command(url, **changes),
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def killed_at_random(url: str, kills: int) -> dict[str, Any]:
    """Run a judging that is killed so often; what scripts/bench/judge_forks.py says of it."""
    program = [PYTHON, SCRIPTS / "bench/judge_forks.py", "--kills", str(kills), "--most", "6000"]
    words = judge_command(url, concurrency=8)[2:]
    done = subprocess.run([*program, "--", *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def scored(rubric: str = "empathy", *arguments: str) -> Any:
    """Run the scoring of what was judged."""
    program = [
        sys.executable, SCRIPTS / "score_judged.py", "--answers", "answers.jsonl",
        "--rubric", ROOT / f"config/rubrics/{rubric}.yaml", "--root", ROOT, "--run", "main",
        "--dataset", "d", "--made-by", "judged.json", "--items", f"{rubric}.parquet",
        "--scores", f"{rubric}.json", *arguments,
    ]  # fmt: skip
    return subprocess.run(program, capture_output=True, text=True)
