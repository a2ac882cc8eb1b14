"""Two-layer models with random weights of the families in config/models/: each with its own
tokenizer, chat template, end tokens and structure. For tests of plumbing, never of quality.

The templates are transcribed from what the families publish, without the branches for tools.
"""

import json
from pathlib import Path
from typing import Any

from models import build_small_model, write_ranks

QWEN3_HEAD = (
    "{%- if messages[0].role == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}"
)
# Qwen3-4B-Instruct-2507: no default system prompt, and nothing about thinking
QWEN3_INSTRUCT = (
    QWEN3_HEAD
    + "{%- for message in messages %}{%- if message.role != 'system' or not loop.first %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
# Qwen3-8B: an empty thought stands before the last reply, and before it alone
QWEN3_THINKING = (
    QWEN3_HEAD
    + "{%- for message in messages %}{%- if message.role != 'system' or not loop.first %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' and loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}{{- message.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
)
# Meta-Llama-3-8B-Instruct: the text begins with the token that the tokenizer also adds by itself
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA3_TOKENS = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}


def build_qwen3(folder: Path, template: str = QWEN3_INSTRUCT) -> Path:
    """A Qwen3: heads wider than hidden size over their number, norms of query and key, no biases,
    and a head that is the embedding, stored once.
    """
    from transformers import GenerationConfig, Qwen3Config

    build_small_model(folder)  # for its tokenizer
    add_tokens(folder, ["<think>", "</think>"])
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    ids = token_ids(folder)
    end, pad = ids["<|im_end|>"], ids["<|endoftext|>"]
    config = Qwen3Config(
        **SIZES, head_dim=32, vocab_size=rows(ids), tie_word_embeddings=True,
        bos_token_id=pad, eos_token_id=end,
    )  # fmt: skip
    save_random(config, folder)
    GenerationConfig(
        bos_token_id=pad, pad_token_id=pad, eos_token_id=[end, pad],
        do_sample=True, temperature=0.7, top_p=0.8, top_k=20,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def build_llama3(folder: Path) -> Path:
    """A Llama 3: no biases, an own head, a tokenizer that begins every text with a token, and no
    padding token.
    """
    from transformers import GenerationConfig, LlamaConfig

    folder.mkdir(parents=True)
    build_llama3_tokenizer(folder)
    ids = token_ids(folder)
    begin, end, turn = (
        ids[name] for name in ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")
    )
    config = LlamaConfig(
        **SIZES, vocab_size=rows(ids), tie_word_embeddings=False, rms_norm_eps=1e-5,
        rope_theta=500_000.0, bos_token_id=begin, eos_token_id=end,
    )  # fmt: skip
    save_random(config, folder)
    GenerationConfig(
        bos_token_id=begin, eos_token_id=[end, turn], do_sample=True, temperature=0.6, top_p=0.9
    ).save_pretrained(folder)
    return folder


def build_llama3_tokenizer(folder: Path) -> None:
    """Write a byte-level BPE as Llama 3 has it, over a few hundred tokens."""
    from mindtune.data.tiktoken_ranks import PATTERN, read_ranks, vocabulary_and_merges
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    write_ranks(folder / "ranks")
    vocabulary, merges = vocabulary_and_merges(read_ranks(folder / "ranks"))
    (folder / "ranks").unlink()
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in LLAMA3_TOKENS]
    )
    begin = LLAMA3_TOKENS[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A {begin} $B",
        special_tokens=[(begin, tokenizer.token_to_id(begin))],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token="<|eot_id|>",
        clean_up_tokenization_spaces=False, model_max_length=8192,
    )  # fmt: skip
    fast.chat_template = LLAMA3
    fast.save_pretrained(folder)


def add_tokens(folder: Path, texts: list[str]) -> None:
    """Append tokens to a folder's tokenizer, as a family's next version does."""
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in texts])
    tokenizer.save(str(folder / "tokenizer.json"))


def token_ids(folder: Path) -> dict[str, int]:
    """{text: id} of the added tokens; the highest id is among them."""
    added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    return {token["content"]: token["id"] for token in added}


def rows(ids: dict[str, int]) -> int:
    """Rows of an embedding for these ids, a multiple of 64."""
    return -(-(max(ids.values()) + 1) // 64) * 64


def save_random(config: Any, folder: Path) -> None:
    """Write a config and random bfloat16 weights of it."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
