"""The smoke test on real servers: a sound export passes every check, and defects that people met
in the wild are found.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
import torch
import verify_serving
from engines import SHORT_ENGINE
from mindtune.chat_template import load_chat, load_chat_template
from mindtune.safe_loading import end_tokens, load_model, load_tokenizer
from mindtune.serve.checks import Case, Failed, check_prompt_tokens, user
from mindtune.serve.engine import serve
from mindtune.serve.greedy_check import check_greedy, transformers_replies
from mindtune.serve.greedy_reference import references
from models import build_small_model, copy_with_end
from transformers import GenerationConfig

ROOT = Path(__file__).resolve().parents[3]
# The program has a flag of its own for the interpreter
ENGINE = {name: value for name, value in SHORT_ENGINE.items() if name != "python"}
SETTINGS = {
    "prompts": ["我最近总是失眠，怎么办？", "I feel anxious before exams.", "没有人可以说🙂"],
    "max_new_tokens": 40,
    "concurrency": 6,
    "levels": [1, 40],
    "near_tie": 0.5,
}
BARE_TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content "
    "}}<|im_end|>\n{% endfor %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return build_small_model(tmp_path_factory.mktemp("model") / "export", seed=1)


def smoke(export: Path, folder: Path, **engine: object) -> tuple[subprocess.CompletedProcess, Path]:
    """Run the program; return its outcome and the path of its record."""
    flags = {
        "--model": export, "--engine": json.dumps({**ENGINE, **engine}),
        "--engine-python": sys.executable,
        "--settings": json.dumps(SETTINGS), "--smoke": folder / "smoke.json",
        "--server-log": folder / "server.log",
    }  # fmt: skip
    command = [
        sys.executable,
        ROOT / "scripts/verify_serving.py",
        *(part for pair in flags.items() for part in pair),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8"
    ), folder / "smoke.json"


def two_token_model(model: Path, folder: Path, texts: list[str]) -> list[int]:
    """Change a copied model so that its every token is one of two; return their ids.

    The rows of the output layer are zero but for two, which are each other's opposite: whatever
    the state, one of them wins.
    """
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(model).convert_tokens_to_ids(texts)
    weights = load_file(model / "model.safetensors")
    row = torch.randn(
        weights["lm_head.weight"].shape[1], generator=torch.Generator().manual_seed(0)
    ).to(torch.bfloat16)
    weights["lm_head.weight"].zero_()
    weights["lm_head.weight"][ids[0]], weights["lm_head.weight"][ids[1]] = row, -row
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return ids


def test_a_sound_export_passes_every_check(model, tmp_path):
    out, record = smoke(model, tmp_path)
    assert out.returncode == 0, out.stdout + out.stderr
    facts = json.loads(record.read_text(encoding="utf-8"))["facts"]
    names = [check.__name__.removeprefix("check_") for check in verify_serving.CHECKS]
    assert [check["name"] for check in facts["checks"]] == [*names, "server_ended"]
    assert all(check["passed"] and check["seen"] for check in facts["checks"])
    alone, together = facts["timings"]["concurrency_1"], facts["timings"]["concurrency_40"]
    assert (alone["requests"], together["requests"]) == (3, 80)
    seen = {check["name"]: check["seen"] for check in facts["checks"]}
    assert seen["greedy"].count("64 positions") == 3 and "apart" not in seen["greedy"]
    assert len(seen["prompt_tokens"].split(", training")[0].split(",")) == 3 + 8, (
        "our prompts and the fixed chats"
    )
    # 2 layers, 2 key-value heads of 16 bfloat16 values
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    head = config["hidden_size"] // config["num_attention_heads"]
    assert facts["memory"]["bytes_per_token"] == 2 * 2 * config["num_key_value_heads"] * head * 2
    assert 0 < alone["ttft_s_p50"] <= alone["ttft_s_p95"] and alone["tokens_per_s"] > 0
    assert "失眠" not in (tmp_path / "server.log").read_text(encoding="utf-8"), (
        "the log holds what a client said"
    )


def test_end_tokens_that_leak_into_the_text_are_found(model, tmp_path):
    """The tokenizer no longer knows its end token as special, and the model is not stopped at
    it.
    """
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
    (export / "generation_config.json").write_text(
        json.dumps({**config, "eos_token_id": ids}), encoding="utf-8"
    )
    out, record = smoke(export, tmp_path)
    assert out.returncode == 2 and not record.exists()
    assert (
        out.stderr.startswith(f"error: {export} failed ")
        and "single_reply: '' (stop after 0 tokens)" in out.stderr
    )
    assert (
        "passed model_list" in out.stdout
        and "server ended: processes left: none; port closed" in out.stdout
    )


def test_a_server_that_renders_other_prompts_than_training_is_found(model, tmp_path):
    """Some engines put a default system prompt of their own before a chat, or leave the model's
    out.
    """
    chat = load_chat(model)
    bare = jinja2.Template(BARE_TEMPLATE)
    trained = replace(
        chat,
        template=SimpleNamespace(
            render=lambda chat, ask: bare.render(messages=chat, add_generation_prompt=ask)
        ),
    )
    with serve(model, {**ENGINE, "python": sys.executable}, tmp_path / "server.log") as server:
        case = Case(server, server.client(), trained, SETTINGS["prompts"], 8, 2, 512, [], [], 0.1)
        with pytest.raises(Failed, match="server .*, training"):
            check_prompt_tokens(case)
        case = replace(case, chat=chat)
        assert check_prompt_tokens(case)
        proven = verify_serving.proven_chats(load_chat(model))
        assert check_prompt_tokens(replace(case, proven=proven))
        proven[3] = (proven[3][0], proven[3][1] + 1)
        with pytest.raises(Failed):
            check_prompt_tokens(replace(case, proven=proven))


def test_a_forbidden_setting_is_one_sentence(model, tmp_path):
    out, record = smoke(model, tmp_path, cache_max_entry_count=0)
    assert out.returncode == 2 and not record.exists()
    assert out.stderr.count("\n") == 1 and "no room for a single token" in out.stderr


def test_the_reference_asks_once_and_each_prompt_is_read_as_if_alone(tmp_path):
    """Prompts of other lengths, one whose reply ends before the others."""
    folder = build_small_model(tmp_path / "model", seed=2)
    model, tokenizer = load_model(folder, torch.float32).eval(), load_tokenizer(folder)
    model.generation_config = GenerationConfig()
    asked, ends, generate = [], end_tokens(folder, tokenizer), model.generate
    model.generate = lambda **words: asked.append(words["input_ids"].shape) or generate(**words)

    def replies(chats):
        with torch.inference_mode():
            return references(model, tokenizer, load_chat_template(folder), chats, 64, ends)

    chats = [user(prompt) for prompt in [*SETTINGS["prompts"], "好" * 150]]
    alone = [reply for chat in chats for reply in replies([chat])]
    asked.clear()
    together = replies(chats)
    assert len(asked) == 1 and asked[0][0] == len(chats)
    assert {reply["finish_reason"] for reply in alone} == {"stop", "length"}
    for one, other in zip(together, alone, strict=True):
        assert one["margins"] == pytest.approx(other["margins"], abs=1e-4)
        assert {**one, "margins": 0} == {**other, "margins": 0}


@pytest.mark.parametrize("bound", [1e-6, 10])
def test_replies_of_other_weights_are_not_transformers_replies(model, tmp_path, bound):
    """The server holds another model than the one that the reference was made with. Where every
    choice is a near-tie, it is found by how often it chooses otherwise.
    """
    other = build_small_model(tmp_path / "other", seed=2)
    engine = {**ENGINE, "python": sys.executable}
    prompts = SETTINGS["prompts"]
    reference = transformers_replies(other, engine, prompts, 64)
    assert [len(reply["margins"]) for reply in reference] == [64, 64, 46]  # the last one ends
    with serve(model, engine, tmp_path / "server.log") as server:
        case = Case(
            server, server.client(), load_chat(model), prompts, 40, 2, 512, [], reference, bound
        )
        with pytest.raises(Failed, match=r"\d positions .*, left at choices .* apart"):
            check_greedy(case)
        own = transformers_replies(model, engine, prompts, 64)
        seen = check_greedy(replace(case, reference=own))
        assert seen.count("64 positions") == 3 and "left" not in seen, seen
