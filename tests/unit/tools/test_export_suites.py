"""The suites as EvalScope's general_mcq and general_qa read them."""

import json
import subprocess
import sys
from pathlib import Path

from mindtune.evaluate.choice_prompts import question_prompts
from mindtune.evaluate.questions import Question

ROOT = Path(__file__).parents[3]
INSTRUCTION = {"zh": "请选一项。", "zh_multiple": "请选出所有正确的。"}
QUESTIONS = [
    Question("一", "zh", "哪一项\n是感觉？", ["视觉", "思维", "记忆"], "A"),
    Question("多", "zh", "哪些？", ["甲", "乙", "丙"], "AC", multiple=True),
]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def export(folder):
    command = [sys.executable, ROOT / "scripts/tools/export_suites.py", "--workdir", folder]
    command += ["--dataset", "demo", "--out", folder / "out"]
    return subprocess.run(command, check=False, capture_output=True, encoding="utf-8")


def test_questions_and_prompts_have_the_form_of_evalscope(tmp_path):
    prompts = tmp_path / "results/prompts/demo"
    write(prompts / "知识.jsonl", question_prompts(QUESTIONS, INSTRUCTION, 1))
    said = [{"role": "system", "content": "简短"}, {"role": "user", "content": "我失眠"}]
    write(prompts / "对话.jsonl", [{"id": "甲#0", "prompt": said, "reference": "多久了？"}])
    done = export(tmp_path)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "out/general_mcq/知识_val.jsonl") == [
        {"id": "一", "question": "哪一项\n是感觉？", "A": "视觉", "B": "思维", "C": "记忆"}
        | {"answer": "A"}
    ]
    assert read(tmp_path / "out/general_qa/对话.jsonl") == [
        {"id": "甲#0", "messages": said, "answer": "多久了？"}
    ]
    assert "知识: 1 questions for general_mcq, 1 with several answers left out" in done.stdout
    assert done.stdout.count("evalscope eval --datasets") == 2


def test_without_prompts_it_is_one_sentence(tmp_path):
    done = export(tmp_path)
    assert done.returncode == 2 and "holds no prompts" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()
