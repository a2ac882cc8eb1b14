"""A model folder that is structurally a Qwen2.5 and takes seconds to make: for tests of plumbing,
never of quality.
"""

import base64
import json
from pathlib import Path

SAMPLE = (
    "我最近总是失眠，晚上翻来覆去睡不着，白天上班没有精神。听起来你很辛苦，"
    "我们一起看看可以怎么办。谢谢你愿意告诉我。"
)


def write_ranks(path: Path) -> None:
    """A rank file in the form of qwen.tiktoken: every byte, then the merges that make the
    characters of SAMPLE whole.

    Characters outside it stay single bytes, so that a random model often breaks off in the middle
    of one.
    """
    ranks = [bytes([byte]) for byte in range(256)]
    for length in (2, 3):
        ranks += sorted({sign.encode()[:length] for sign in SAMPLE})
    lines = [base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(ranks)]
    path.write_bytes(b"".join(lines))


def build_small_model(folder: Path, seed: int = 0) -> Path:
    """Write a two-layer Qwen2 with random weights, its tokenizer, and the sampling defaults that
    Qwen2.5 publishes.
    """
    import torch
    from mindtune.data.tiktoken_ranks import build_qwen_tokenizer
    from mindtune.data.toy_model import tiny_config
    from transformers import AutoTokenizer, GenerationConfig, Qwen2ForCausalLM

    folder.mkdir(parents=True)
    write_ranks(folder / "ranks")
    build_qwen_tokenizer(folder / "ranks", folder)
    (folder / "ranks").unlink()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pad, end = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 192,
        "vocab_size": -(-len(tokenizer) // 64) * 64,
    }
    model = Qwen2ForCausalLM(tiny_config(**sizes, bos_token_id=pad, eos_token_id=end)).to(
        torch.bfloat16
    )
    model.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=pad, pad_token_id=pad, eos_token_id=[end, pad],
        do_sample=True, repetition_penalty=1.05, temperature=0.7, top_p=0.8, top_k=20,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def copy_with_end(model: Path, folder: Path, ends: list[int]) -> Path:
    """A copy of a model folder (links) that ends its replies at other token ids."""
    folder.mkdir()
    for path in model.iterdir():
        if path.name != "generation_config.json":
            (folder / path.name).hardlink_to(path)
    config = json.loads((model / "generation_config.json").read_text(encoding="utf-8"))
    (folder / "generation_config.json").write_text(
        json.dumps({**config, "eos_token_id": ends}), encoding="utf-8"
    )
    return folder
