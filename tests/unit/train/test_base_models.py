"""Another base model is one overlay: the families in config/models/ are cached, trained, merged
and proven by the real programs, with templates, tokenizers and structures of their own.
"""

import json
import subprocess

import pytest
import yaml
from families import QWEN3_THINKING, build_llama3, build_qwen3
from proven_run import VERIFY
from training import (
    ROOT,
    Training,
    cache_command,
    environment,
    prepare,
    program,
    template_of,
    write_dialogues,
)

BUILDERS = {"qwen3": build_qwen3, "llama3": build_llama3}
# all linear layers, of which a wide head makes some of another width than the hidden size
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": TARGETS}
MERGE = {"dtype": "bfloat16", "max_shard_size": "2GB"}


def overlay(family):
    """The model of an overlay, as the rules hand it to the programs."""
    text = (ROOT / f"config/models/{family}.yaml").read_text(encoding="utf-8")
    return {key: yaml.safe_load(text)["model"][key] for key in ("id", "type", "template")}


def run(name, *words):
    done = subprocess.run(program(name, *words), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


@pytest.mark.parametrize("family", sorted(BUILDERS))
def test_a_family_is_cached_trained_merged_and_proven(tmp_path, family):
    kind = overlay(family)
    prepared = prepare(tmp_path, BUILDERS[family], kind)
    training = Training(prepared, tmp_path, kind, epochs=1, save_steps=100, lora=LORA)
    training.finish()
    facts = json.loads((tmp_path / "record.json").read_text())["facts"]
    assert facts["rows"] == 34 and facts["last_loss"] < facts["first_loss"]
    folders = ["--base", tmp_path / "model", "--adapter", tmp_path / "adapter"]
    run(
        "merge_adapter.py",
        *folders,
        *("--settings", json.dumps(MERGE), "--merged", tmp_path / "merged"),
        *("--record", tmp_path / "merge.json"),
    )
    run(
        "verify_merge.py",
        *folders,
        *("--merged", tmp_path / "merged", "--prompts", tmp_path / "dev.jsonl"),
        *("--model", template_of(kind), "--settings", json.dumps(VERIFY)),
        *("--verify", tmp_path / "verify.json"),
    )
    proof = json.loads((tmp_path / "verify.json").read_text())["facts"]
    assert proof["tensors"]["changed"]["exact"] == 14
    for name in ("generation_config.json", "tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_a_template_that_is_not_the_models_is_refused_before_anything_is_trained(tmp_path):
    build_qwen3(tmp_path / "model", QWEN3_THINKING)
    write_dialogues(tmp_path)
    command = cache_command(tmp_path, overlay("qwen3"))
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / "cached").exists()
    assert "they part at token" in done.stderr and "model.template" in done.stderr
