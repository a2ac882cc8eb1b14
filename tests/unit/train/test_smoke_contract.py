"""The smoke test on real servers: a sound export passes every check, and defects that people met in the wild are found."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jinja2
import pytest
import smoke_test
from mindtune.chat import load_chat
from mindtune.engine import serve
from models import build_small_model, copy_with_end

ROOT = Path(__file__).resolve().parents[3]
ENGINE = {
    "engine": "transformers",
    "backend": "pytorch",
    "model_name": "demo",
    "tp": 1,
    "session_len": 512,
    "cache_max_entry_count": 0.8,
    "device": "cpu",
    "threads": 1,
    "startup_timeout_s": 120,
}
SETTINGS = {
    "prompts": ["我最近总是失眠，怎么办？", "I feel anxious before exams.", "没有人可以说🙂"],
    "max_new_tokens": 40,
    "concurrency": 6,
}
BARE_TEMPLATE = "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return build_small_model(tmp_path_factory.mktemp("model") / "export", seed=1)


def smoke(export: Path, folder: Path, **engine: object) -> tuple[subprocess.CompletedProcess, Path]:
    """Run the program; return its outcome and the path of its record."""
    flags = {
        "--export": export, "--engine": json.dumps({**ENGINE, **engine}), "--engine-python": sys.executable,
        "--settings": json.dumps(SETTINGS), "--smoke": folder / "smoke.json", "--server-log": folder / "server.log",
    }  # fmt: skip
    command = [sys.executable, ROOT / "scripts/smoke_test.py", *(part for pair in flags.items() for part in pair)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8"), folder / "smoke.json"


def two_token_model(model: Path, folder: Path, texts: list[str]) -> list[int]:
    """Change a copied model so that its every token is one of two; return their ids.

    The rows of the output layer are zero but for two, which are each other's opposite: whatever the state, one of them wins.
    """
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(model).convert_tokens_to_ids(texts)
    weights = load_file(model / "model.safetensors")
    row = torch.randn(weights["lm_head.weight"].shape[1], generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    weights["lm_head.weight"].zero_()
    weights["lm_head.weight"][ids[0]], weights["lm_head.weight"][ids[1]] = row, -row
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return ids


def test_a_sound_export_passes_every_check(model, tmp_path):
    out, record = smoke(model, tmp_path)
    assert out.returncode == 0, out.stdout + out.stderr
    facts = json.loads(record.read_text(encoding="utf-8"))["facts"]
    names = [check.__name__.removeprefix("check_") for check in smoke_test.CHECKS]
    assert [check["name"] for check in facts["checks"]] == [*names, "server_ended"]
    assert all(check["passed"] and check["seen"] for check in facts["checks"])
    alone, together = facts["timings"]["concurrency_1"], facts["timings"]["concurrency_6"]
    assert (alone["requests"], together["requests"]) == (3, 6)
    assert 0 < alone["ttft_s_p50"] <= alone["ttft_s_p95"] and alone["tokens_per_s"] > 0
    assert "失眠" not in (tmp_path / "server.log").read_text(encoding="utf-8"), "the log holds what a client said"


def test_end_tokens_that_leak_into_the_text_are_found(model, tmp_path):
    """The tokenizer no longer knows its end token as special, and the model is not stopped at it."""
    export = copy_with_end(model, tmp_path / "export", [0])
    two_token_model(model, export, ["<|im_end|>", "<|im_start|>"])
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    for token in tokenizer["added_tokens"]:
        token["special"] = False
    (export / "tokenizer.json").unlink()
    (export / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config = json.loads((export / "tokenizer_config.json").read_text(encoding="utf-8"))
    (export / "tokenizer_config.json").unlink()
    kept = {name: config[name] for name in ("tokenizer_class", "model_max_length")}
    (export / "tokenizer_config.json").write_text(json.dumps(kept), encoding="utf-8")
    out, record = smoke(export, tmp_path)
    assert out.returncode == 2 and not record.exists()
    assert "stop_token: length after 40 of 40 tokens" in out.stderr and "<|im_end|>" in out.stderr


def test_a_model_that_ends_before_its_first_word_is_found(model, tmp_path):
    export = copy_with_end(model, tmp_path / "export", [0])
    ids = two_token_model(model, export, ["a", "b"])
    config = json.loads((export / "generation_config.json").read_text(encoding="utf-8"))
    (export / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": ids}), encoding="utf-8")
    out, record = smoke(export, tmp_path)
    assert out.returncode == 2 and not record.exists()
    assert out.stderr.startswith(f"error: {export} failed ") and "single_reply: '' (stop after 0 tokens)" in out.stderr
    assert "passed model_list" in out.stdout and "server ended: processes left: none; port closed" in out.stdout


def test_a_server_that_renders_other_prompts_than_training_is_found(model, tmp_path):
    """Some engines put a default system prompt of their own before a chat, or leave the model's out."""
    chat = load_chat(model)
    trained = replace(chat, template=jinja2.Template(BARE_TEMPLATE))
    with serve(model, {**ENGINE, "python": sys.executable}, tmp_path / "server.log") as server:
        case = smoke_test.Case(server, server.client(), trained, SETTINGS["prompts"], 8, 2, 512)
        with pytest.raises(smoke_test.Failed, match="server .*, chat template"):
            smoke_test.check_prompt_tokens(case)
        assert smoke_test.check_prompt_tokens(replace(case, chat=chat))


def test_a_forbidden_setting_is_one_sentence(model, tmp_path):
    out, record = smoke(model, tmp_path, cache_max_entry_count=0)
    assert out.returncode == 2 and not record.exists()
    assert out.stderr.count("\n") == 1 and "no room for a single token" in out.stderr


def test_speeds_are_those_of_the_replies():
    reply = smoke_test.Reply("睡不着", "length", 10, 5)
    streamed = [
        smoke_test.StreamedReply(reply, list("睡不着"), [start, start + 0.1, start + 0.4]) for start in (0.2, 0.6)
    ]
    assert smoke_test.speeds(streamed, 2.0) == {
        "requests": 2, "output_tokens": 10, "tokens_per_s": 5.0,
        "ttft_s_p50": 0.4, "ttft_s_p95": 0.6, "tpot_s_p50": 0.1, "tpot_s_p95": 0.1,
    }  # fmt: skip
