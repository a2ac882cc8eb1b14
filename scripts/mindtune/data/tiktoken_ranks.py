"""Qwen2.5's tokenizer from its published rank file, for machines that reach a package registry but
no model hub.

The rank file (`qwen.tiktoken`: base64 token, rank) ships inside the `dashscope` package. A
tiktoken rank list has no merge list; each token's last merge is found by running BPE on its bytes
with all lower ranks (as `transformers` does when it converts tiktoken files), which reproduces the
151,387 merges exactly. The pre-tokenizer pattern, the special tokens and their order are Qwen2.5's
(https://arxiv.org/abs/2412.15115, tokenizer_config.json of Qwen/Qwen2.5-7B-Instruct).
"""

import base64
import json
from pathlib import Path
from typing import Any

from mindtune.cli import UserError

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The order gives the ids: 151643 <|endoftext|>, 151644 <|im_start|>, 151645 <|im_end|>, ...
SPECIAL_TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
ADDED_TOKENS = [
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>",
]  # fmt: skip
# Qwen2.5's chat template without its tool branches, which no dialogue here uses
CHAT_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""  # noqa: E501


def package_file(root: Path, name: str) -> Path:
    """Path of a data file inside an installed package, below an environment's folder."""
    found = sorted(Path(root).rglob(name))
    if not found:
        raise UserError(
            f"{root} holds no file {name}; delete that folder and run again to install the package "
            f"anew"
        )
    return found[0]


def read_ranks(path: Path) -> dict[bytes, int]:
    """Tokens and their ranks, in the file's order, which is the order of ranks."""
    ranks = {}
    for line in path.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    return ranks


def last_merge(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The parts of a token after all merges of lower rank: two of them, for a token that BPE can
    make.
    """
    limit = ranks[token]
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        best, at = limit, -1
        for index in range(len(parts) - 1):
            rank = ranks.get(parts[index] + parts[index + 1], limit)
            if rank < best:
                best, at = rank, index
        if at < 0:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def byte_alphabet() -> dict[int, str]:
    """GPT-2's printable character for every byte: printable Latin-1 stands for itself, the rest
    follow from U+0100.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + n) for n, byte in enumerate(others)
    }


def vocabulary_and_merges(ranks: dict[bytes, int]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """What a byte-level BPE needs: ids by printable text, and merges in the order of ranks."""
    alphabet = byte_alphabet()
    text = {token: "".join(alphabet[byte] for byte in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) > 1:
            parts = last_merge(token, ranks)
            if len(parts) != 2:
                raise UserError(
                    f"rank {ranks[token]} is no merge of lower ranks; the rank file is damaged, "
                    f"install it anew"
                )
            merges.append((text[parts[0]], text[parts[1]]))
    return {text[token]: rank for token, rank in ranks.items()}, merges


def byte_level_bpe(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Any:
    """A BPE over bytes that cuts and joins text as Qwen's does, with its special tokens."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        normalizers,
        pre_tokenizers,
        processors,
    )
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges, fuse_unk=False, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    tokenizer.add_tokens(
        [AddedToken(token, special=False, normalized=False) for token in ADDED_TOKENS]
    )
    return tokenizer


def build_qwen_tokenizer(rank_file: Path, folder: Path, size: int | None = None) -> None:
    """Write tokenizer.json, tokenizer_config.json, chat_template.jinja, vocab.json and merges.txt.

    With `size`, only the first `size` ranks are kept (a prefix of a BPE is a BPE): small and fast,
    for tests of plumbing; the special tokens move down with it.
    """
    from transformers import PreTrainedTokenizerFast

    ranks = {
        token: rank for token, rank in read_ranks(rank_file).items() if size is None or rank < size
    }
    vocabulary, merges = vocabulary_and_merges(ranks)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_bpe(vocabulary, merges),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL_TOKENS[1:],
        model_max_length=131072,
        clean_up_tokenization_spaces=False,
        errors="replace",
        split_special_tokens=False,
        add_bos_token=False,
        add_prefix_space=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    config_file = folder / "tokenizer_config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config.update(tokenizer_class="Qwen2Tokenizer", bos_token=None)
    config_file.write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "".join(f"{left} {right}\n" for left, right in merges), encoding="utf-8"
    )
