"""A model folder that brings code: every program that loads one says so in a sentence, and the
code does not run.

The guards behind that look at the folder, the libraries' own switches, are tested in test_swift.py
and test_lmdeploy.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"
MODEL = '{"id": "small", "type": "qwen2", "template": "qwen2_5"}'
TEMPLATE = '{"type": "qwen2", "template": "qwen2_5"}'
ENGINE = {
    "engine": "transformers", "python": sys.executable, "backend": "pytorch", "model_name": "小",
    "tp": 1, "session_len": 512,
    "cache_max_entry_count": 0.5, "device": "cpu", "threads": 1, "startup_timeout_s": 60,
}  # fmt: skip
ASKED = {
    "id": "a", "prompt": [{"role": "user", "content": "你好"}], "options": ["甲"], "reply": "好",
}  # fmt: skip
SMOKE = {
    "prompts": ["你好"],
    "max_new_tokens": 4,
    "concurrency": 1,
    "levels": [1],
    "near_tie": 1e-6,
}


def evil(mark: Path) -> str:
    """Code that would leave a mark, with all classes that a library may ask for."""
    return (
        f"import pathlib\n\npathlib.Path({str(mark)!r}).touch()\n\n"
        "from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM\n\n\n"
        "class Tok(PreTrainedTokenizerFast):\n    pass\n\n\nclass Config(Qwen2Config):\n    "
        "pass\n\n\n"
        "class Model(Qwen2ForCausalLM):\n    pass\n"
    )


def change(file: Path, **more) -> None:
    file.write_text(
        json.dumps({**json.loads(file.read_text(encoding="utf-8")), **more}), encoding="utf-8"
    )


@pytest.fixture
def hostile(tmp_path, plain):
    """(folder, mark): the code lies elsewhere on this machine, so that no file of the folder looks
    wrong.
    """
    folder, mark, code = tmp_path / "model", tmp_path / "was run", tmp_path / "elsewhere"
    subprocess.run(["cp", "-r", plain, folder], check=True)
    code.mkdir()
    (code / "tok.py").write_text(evil(mark), encoding="utf-8")
    change(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": [f"{code}--tok.Tok", f"{code}--tok.Tok"]},
    )
    return folder, mark


def dialogues(file: Path) -> Path:
    turns = [{"from": "human", "value": "我睡不着。"}, {"from": "gpt", "value": "多久了？"}]
    row = {"id": "1", "source": "a#1", "conversations": turns}
    file.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def of_the_data_stage(folder: Path, rows: Path, record: list, out: Path) -> dict[str, list]:
    """Those programs of the data stage that load a model."""
    on_a_cpu = ["--device", "cpu", *record]
    return {
        "measure_perplexity.py": ["--dialogues", rows, "--model", folder, "--model-kind", TEMPLATE,
                                  "--perplexity", out, *on_a_cpu],
        "find_paraphrases.py": ["--clean", rows, "--encoder", folder, "--threshold", "0.9",
                                "--pairs", out, *on_a_cpu],
    }  # fmt: skip


def commands(folder: Path, plain: Path, work: Path) -> dict[str, list]:
    """A call of every program that loads a model or a tokenizer, up to where it loads it."""
    rows, out = dialogues(work / "对话.jsonl"), work / "out"
    engine = ["--engine", json.dumps(ENGINE | {"python": ""}), "--engine-python", sys.executable]
    serve = ["--device", "cpu", "--threads", "1"]
    (work / "p.jsonl").write_text(json.dumps(ASKED) + "\n", encoding="utf-8")
    return {
        "cache_dataset.py": ["--train", rows, "--dev", rows, "--tokenizer", folder, "--model",
            TEMPLATE, "--settings",
                             '{"max_length": 512}', "--cached", out, "--record", work / "r.json"],
        "train_lora.py": ["--run", "main", "--cached", work, "--pack-stats", work, "--model",
            folder, "--made-by", work,
                          "--model-kind", MODEL, "--settings", '{"method": "lora"}', "--code", "x",
                          "--state-root", work,
                          "--adapter", out, "--history", out, "--loss-figure", out, "--record",
                          out],
        "verify_merge.py": ["--base", plain, "--adapter", plain, "--merged", folder, "--prompts",
            rows, "--model", TEMPLATE,
                            "--settings", '{"device": "cpu", "n_prompts": 1}', "--verify", out],
        "build_demo_model.py": ["--tier", "tiny", "--part", "all", "--package", work, "--tokenizer",
            folder, "--dialogues", rows,
                                "--model", out, "--record", work / "r.json"],
        "generate_replies.py": ["--model", folder, "--suites", '{"dialogue": 4}',
                                "--prompts", work / "p.jsonl", *engine, "--concurrency", "1",
                                "--code", "x", "--state", work / "state", "--replies", out,
                                "--records", work / "r.json", "--log", work / "server.log"],
        "measure_letters.py": ["--model", folder, "--prompts", work / "p.jsonl",
                               "--engine",
                               json.dumps(ENGINE), "--letters", out, "--records", work / "r.json"],
        **of_the_data_stage(folder, rows, ["--record", work / "r.json"], out),
        "verify_serving.py": ["--model", folder, *engine, "--settings", json.dumps(SMOKE),
                          "--smoke", out, "--server-log", work / "server.log"],
        "mindtune/serve/transformers_server.py": ["--model", folder, "--model-name", "x",
            "--session-len", "512", *serve, "--port-file", out],
        "mindtune/serve/greedy_reference.py": ["--model", folder, "--max-tokens", "4", *serve],
    }  # fmt: skip


PROGRAMS = (
    "cache_dataset.py", "train_lora.py", "verify_merge.py", "build_demo_model.py",
    "generate_replies.py", "measure_letters.py", "verify_serving.py", "measure_perplexity.py",
    "find_paraphrases.py",
    "mindtune/serve/transformers_server.py", "mindtune/serve/greedy_reference.py",
)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_code_that_a_tokenizer_names_is_not_run(program, hostile, plain, tmp_path):
    folder, mark = hostile
    key = tmp_path / "key"
    key.write_text("k" * 20)
    words = [str(word) for word in commands(folder, plain, tmp_path)[program]]
    variables = {
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "HF_HUB_OFFLINE": "1",
        "MINDTUNE_API_KEY_FILE": str(key),
    }
    done = subprocess.run(
        [sys.executable, "-P", SCRIPTS / program, *words] if "/" in program else [sys.executable,
            SCRIPTS / program, *words],
        env={**os.environ, **variables}, input="[]", capture_output=True, text=True, timeout=300,
        cwd=tmp_path,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert not mark.exists(), said[-2000:]
    assert done.returncode == 2 and "Traceback" not in said, said[-2000:]
    assert "tokenizer_config.json names code of its own (auto_map" in said, said[-2000:]
    assert not (tmp_path / "out").exists()


def test_the_trainer_s_own_process_runs_no_code_of_a_folder_altered_since(hostile, tmp_path):
    """train_lora.py looked at the folder before; this is ms-swift with our plugin, as it starts
    it.
    """
    from mindtune.train.flags import train_flags
    from mindtune.train.swift import environment, render
    from test_swift import SETTINGS

    folder, mark = hostile
    settings = SETTINGS | {"packing": False, "memory": None}
    flags = train_flags(json.loads(MODEL), settings) | {
        "model": str(folder), "dataset": [str(dialogues(tmp_path / "a.jsonl"))],
        "output_dir": str(tmp_path / "out"), "max_steps": 1,
        "callbacks": [], "report_to": [],
    }  # fmt: skip
    words = [sys.executable, "-m", "swift.cli.sft", *render(flags)]
    given = environment(
        HF_MODULES_CACHE=str(tmp_path / "modules"),
        MINDTUNE_CPU_PACKING="1",
        CUDA_VISIBLE_DEVICES="",
    )
    subprocess.run(
        words, env=given, cwd=tmp_path, capture_output=True, timeout=300, stdin=subprocess.DEVNULL
    )
    assert not mark.exists()
