"""The program that cleans, a small tokenizer for it, and rows in the form that it reads."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.data.cleaning import STEPS, Cleaner
from mindtune.data.personal_data import load_hotlines

ROOT = Path(__file__).parents[3]


HOTLINES = load_hotlines(ROOT / "config" / "hotlines.yaml")


SPECIAL = re.compile(r"<\|im_end\|>|<\|endoftext\|>")


TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}\n    {{- '<|im_start|>system\\nYou are a helpful "
    "assistant.<|im_end|>\\n' }}\n{%- endif %}\n"
    "{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\\n' + "
    "message.content + '<|im_end|>' + '\\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"
)


GOOD = [
    ("human", "我最近总是失眠。"),
    ("gpt", "失眠多久了？"),
    ("human", "两个星期。"),
    ("gpt", "我们一起看看原因。"),
]


def cleaner(off=(), on=(), role_map=None, min_turns=2):
    steps = {name: (name in on) if on else name not in off for name in STEPS}
    return Cleaner(steps, role_map or {}, min_turns, ["zh", "en"], HOTLINES, SPECIAL)


def with_text(text, role="human"):
    return [
        (role, text) if index == ("human", "gpt").index(role) else turn
        for index, turn in enumerate(GOOD)
    ]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A small byte-level tokenizer with Qwen's special tokens and a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("tokenizer")
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(["我最近总是失眠，你好，我们一起看看原因。"], trainer)
    made.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def program(raw, out, tokenizer, threads=1, **changes):
    chosen = {"max_tokens": 400, "min_turns": 2, "role_map": {},
        "steps": {name: name != "own_role_tag" for name in STEPS},
              "near_duplicates": {"ngram_chars": 5, "threshold": 0.8}, "form": "auto",
              "languages": ["zh", "en"], "over_long": "drop",
              "max_line_repeats": 50, "sources": {}, "fields": {}, "crisis": "keep",
              "patterns": []} | changes  # fmt: skip
    command = [sys.executable, ROOT / "scripts/clean_dialogues.py", "--raw", raw, "--tokenizer",
        tokenizer, "--hotlines", ROOT / "config/hotlines.yaml",
               "--settings", json.dumps(chosen), "--source-name", "测试", "--threads", str(threads),
               "--clean", out / "clean.jsonl",
               "--rejected", out / "rejected.jsonl", "--crisis", out / "crisis.jsonl", "--record",
               out / "clean_dialogues.json"]  # fmt: skip
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120
    )


def sharegpt(turns, **more):
    return json.dumps(
        more | {"conversations": [{"from": role, "value": text} for role, text in turns]},
        ensure_ascii=False,
    )


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def facts_of(folder):
    return json.loads((folder / "clean_dialogues.json").read_text(encoding="utf-8"))["facts"]


def only(step, turns):
    """The result of one step alone."""
    return cleaner(on=[step]).clean(turns)
