"""A small run up to its proof, made once per test session by the real programs: base, adapter,
merged, verify.json, records.
"""

import json
import subprocess
import sys
from pathlib import Path

from models import build_small_model
from sealed import write_sealed

ROOT = next(
    folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file()
)
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MODEL = {
    "source": "huggingface",
    "id": "Qwen/Qwen2.5-7B-Instruct",
    "revision": "a09a354",
    "licence": "apache-2.0",
}
KIND = {"type": "qwen2", "template": "qwen2_5"}
MERGE = {"dtype": "bfloat16", "max_shard_size": "60KB"}
VERIFY = {
    "n_prompts": 2,
    "max_prompt_tokens": 64,
    "logits_dtype": "float32",
    "device": "cpu",
    "max_logit_rms": 0.12,
    "max_logit_difference": 1.0,
    "max_swapped_margin": 0.5,
    "max_loaded_rms": 0.01,
}
DIALOGUES = [
    ["我最近总是失眠，晚上翻来覆去睡不着。", "听起来你很辛苦，我们一起看看可以怎么办。"],
    [
        "I argued with my mother again.",
        "That sounds painful. What happened?",
        "她说我不懂事。",
        "谢谢你愿意告诉我。",
    ],
]


def build_adapter(base: Path, folder: Path, seed: int = 1, **changes: object) -> Path:
    """Write a LoRA adapter with random A and B for a base model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    config = LoraConfig(**{"r": 4, "lora_alpha": 16, "target_modules": TARGETS, **changes})
    adapted = get_peft_model(model, config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    adapted.save_pretrained(folder)
    return folder


def run_program(
    name: str, *words: object, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run one of our programs; paths and JSON are given as words."""
    command = [python, str(ROOT / "scripts" / name)]
    command += [
        json.dumps(word, ensure_ascii=False) if isinstance(word, (dict, list)) else str(word)
        for word in words
    ]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)


def write_dialogues(path: Path) -> Path:
    """Clean dialogues in Chinese and English."""
    speakers = ("human", "gpt")
    rows = [
        {
            "id": f"对话-{number}",
            "conversations": [
                {"from": speakers[turn % 2], "value": text} for turn, text in enumerate(texts)
            ],
        }
        for number, texts in enumerate(DIALOGUES)
    ]
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


DATA = "results/data/d"
CLEANED = {
    "read": 1200,
    "kept": 1150,
    "rejected": 50,
    "rejected_by_reason": {"empty": 0, "over_long": 50},
}


def other_records(folder: Path) -> list[Path]:
    """Records of the stages before the merge, as their programs write them, with the facts that a
    model card shows.
    """
    records = {
        "fetch_model": ({}, {"source": "package", "id": "tiny", "toy": True}, {}),
        "fetch_dataset": (
            {f"{DATA}/raw": "ef" * 32},
            {"source": "local", "path": "resources/dialogues"},
            {},
        ),
        "clean_dialogues": ({f"{DATA}/clean.jsonl": "ef" * 32}, {"max_tokens": 3072}, CLEANED),
        "split_dialogues": (
            {f"{DATA}/train.jsonl": "ab" * 32},
            {"seed": 42},
            {"dialogues": {"train": 1000, "dev": 50, "test": 100}},
        ),
        "train_lora": (
            {},
            {
                "method": "lora",
                "learning_rate": 2.0e-4,
                "base_sha256": "cd" * 32,
                "lora": {"rank": 4, "target_modules": TARGETS},
            },
            {"steps": 30, "packs": 120, "last_loss": 1.5, "first_dev_loss": None},
        ),
    }
    paths = []
    for stage, (outputs, params, facts) in records.items():
        paths.append(folder / f"{stage}.json")
        write_sealed(
            paths[-1], stage, outputs=outputs, params=params, facts=facts, env={"ms-swift": "4.6.0"}
        )
    return paths


def proven_run(tmp_path_factory) -> Path:
    """The folder of the run; it must not be changed by a test."""
    folder = tmp_path_factory.getbasetemp() / "proven_run"
    if folder.exists():
        return folder
    build_small_model(folder / "base")
    (folder / "base" / "LICENSE").write_text("Apache License 2.0\n", encoding="utf-8")
    (folder / "base" / "README.md").write_text(
        "# 基座自己的说明\n", encoding="utf-8"
    )  # the export writes its own
    build_adapter(folder / "base", folder / "adapter")
    write_dialogues(folder / "dev.jsonl")
    other_records(folder)
    done = run_program(
        "merge_adapter.py", "--base", folder / "base", "--adapter", folder / "adapter",
        "--settings", MERGE,
        "--merged", folder / "merged", "--record", folder / "merge_adapter.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run_program("verify_merge.py", *verify_words(folder))
    assert done.returncode == 0, done.stderr
    return folder


def verify_words(folder: Path, **paths: Path) -> list[object]:
    """Words for verify_merge.py on a run's folder; single paths can be replaced."""
    flags = {name: folder / name for name in ("base", "adapter", "merged")}
    flags |= {"prompts": folder / "dev.jsonl", "verify": folder / "verify.json", **paths}
    words = [word for name, path in flags.items() for word in (f"--{name}", path)]
    return [*words, "--model", KIND, "--settings", VERIFY]


def export_words(folder: Path, out: Path, **paths: Path) -> list[object]:
    """Words for export_model.py on a run's folder, written to `out`; single paths can be
    replaced.
    """
    flags = {name: folder / name for name in ("merged", "base")} | {
        "verify": folder / "verify.json",
        **paths,
    }
    words = [word for name, path in flags.items() for word in (f"--{name}", path)]
    stages = ("fetch_model", "fetch_dataset", "clean_dialogues", "split_dialogues", "train_lora")
    words += [
        "--records",
        *[folder / f"{stage}.json" for stage in (*stages, "merge_adapter")],
        "--locks",
        ROOT / "envs" / "train.lock",
    ]
    words += [
        "--code",
        "0123456789abcdef",
        "--settings",
        {"model": MODEL, "data_licence": {"d": "CC0-1.0"}},
    ]
    return [*words, "--export", out / "export", "--record", out / "export_model.json"]
